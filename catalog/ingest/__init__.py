"""From a store to rows: finding stores, telling what changed, writing just that."""
