"""The records that this plugin offers."""
