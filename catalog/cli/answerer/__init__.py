"""A resident process that answers for the launcher (docs/decisions/0018-answerer.md)."""
