"""How the rows of a statement are best fetched from a server: the hints of catalog/db/statements.py. Imports nothing."""

from __future__ import annotations

ONE = ""
"""All rows at once: there are one or a few."""
FEW = "few"
"""Few rows as a rule, and most often the first is all that is wanted, but a layout may have one tag a million times: a
cursor, which costs two more round trips, is opened only if there are many."""
WIDE = "wide"
"""Rows without number: through a cursor of the server's."""
ALL = "all"
"""WIDE, of a statement that reads all there is: a hash join beats a million searches."""
