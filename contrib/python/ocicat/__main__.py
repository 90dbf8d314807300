"""`python -m ocicat`: the command line."""

from __future__ import annotations

from catalog.cli.start import main

if __name__ == "__main__":
    main()
