"""Tests of catalog.lookup: every answer is compared with the plain linear scan, and the cost of answers is counted."""
