"""A build from its file to its artifacts, and what it would do."""
