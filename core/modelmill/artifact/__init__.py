"""A finished step → an artifact in dist/, with all that is said of it."""
