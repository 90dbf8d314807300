"""Hints on how to fetch the rows of a statement from a server, used in catalog/db/statements.py. Imports nothing."""

from __future__ import annotations

ONE = ""
"""All rows at once, because there are only a few."""
FEW = "few"
"""Usually few rows, and most callers need only the first. But a layout may have one tag a million times, so if there
are many rows, a cursor is opened, which costs two more round trips."""
WIDE = "wide"
"""Any number of rows, fetched through a cursor on the server."""
ALL = "all"
"""Like WIDE, for a statement that reads everything, because a hash join is faster than a million searches."""
WHOLE = "whole"
"""Like ALL, if every row is fetched. Otherwise the plan of a cursor is the one that returns the first tenth of the rows soonest."""
