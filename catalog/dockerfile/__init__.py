"""Which images a Dockerfile needs, as BuildKit reads it. Pure text: no files, no catalog."""
