"""Read-only SQL over all stores: the gate that runs statements, and the ready-made reports."""
