"""The watcher: events are hints, the sweep is the truth."""
