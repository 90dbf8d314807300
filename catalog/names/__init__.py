"""Names: pure text, no I/O. Docker's reference grammar, a descriptor's keys, what a query may say (docs/resolution.md)."""
