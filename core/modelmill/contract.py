"""The version of the plugin contract, and the mark of those who implement it."""

import pluggy

API_VERSION = 1
"""The version of the plugin contract. It grows only when a plugin written for the one before may break."""

hookimpl = pluggy.HookimplMarker("modelmill")
"""Marks a plugin's function as the implementation of a hook in `modelmill.hookspecs`."""
