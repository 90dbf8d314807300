"""The watcher. Events are hints; the sweep is the truth."""
