"""Tests of catalog.ingest: what the catalog says after each change on disk, and how many rows that took."""
