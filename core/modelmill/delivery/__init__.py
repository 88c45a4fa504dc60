"""Artifacts to where they are wanted, by the packagers and remotes that plugins offer."""
