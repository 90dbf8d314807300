"""Coverage-guided fuzzing of what reads hostile files: `make fuzz`."""
