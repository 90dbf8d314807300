"""A resident process that answers for the launcher (docs/decisions/0017-answerer.md)."""
