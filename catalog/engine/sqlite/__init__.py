"""Catalogs in a file, with SQLite."""
