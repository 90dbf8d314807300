"""A module a command; `catalog.cli.main` loads the one that is called."""
