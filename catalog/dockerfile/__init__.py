"""Find the images that a Dockerfile needs, as BuildKit reads it. Works on text alone, without files or a catalog."""
