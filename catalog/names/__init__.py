"""Names, as pure text without I/O: Docker's reference grammar, lookup keys, queries, platforms (docs/resolution.md)."""
