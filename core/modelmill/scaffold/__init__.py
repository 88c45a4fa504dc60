"""A new plugin's repository: complete, installable, its tests passing as written."""

from modelmill.scaffold.write import KINDS, new_plugin

__all__ = ["KINDS", "new_plugin"]
