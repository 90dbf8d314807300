"""Catalogs on a server, with PostgreSQL, shared by many hosts."""
