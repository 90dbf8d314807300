"""The database: its tables, views, migrations and statements. Nothing here opens a connection."""
