"""Read-only access to stores on disk: find layouts and read their files without trusting any of the contents."""
