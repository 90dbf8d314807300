"""A catalog in a file, by SQLite."""
