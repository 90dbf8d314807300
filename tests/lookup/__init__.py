"""Tests of catalog.lookup: every answer against the plain linear scan, and what an answer costs."""
