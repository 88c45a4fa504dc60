"""Tool environments: what their tools resolve to, pinned, and made."""
