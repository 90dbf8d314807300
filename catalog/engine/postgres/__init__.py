"""A catalog on a server, by PostgreSQL, shared by many hosts."""
