"""The two database engines that can hold a catalog, SQLite and PostgreSQL, behind one interface (docs/decisions/0013-the-seam.md)."""
