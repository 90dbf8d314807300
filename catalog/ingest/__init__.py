"""From stores to rows: finding stores, detecting changes, and writing only what changed."""
