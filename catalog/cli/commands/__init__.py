"""One module per command; `catalog.cli.main` loads only the one that is called."""
