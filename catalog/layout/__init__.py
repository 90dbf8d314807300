"""A store on disk, read-only: finding layouts and reading their `index.json` without trusting a byte of it."""
