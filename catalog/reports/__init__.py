"""Questions in SQL over all stores: the read-only gate."""
