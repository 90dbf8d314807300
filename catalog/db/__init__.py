"""The database: its tables, views and versions, how it is opened and locked. Knows no files but its own."""
