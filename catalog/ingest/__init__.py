"""From stores to rows: find stores, detect changes, and write only the rows that changed."""
