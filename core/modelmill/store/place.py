"""Where the store is, where nobody names it."""

import os
from collections.abc import Mapping
from pathlib import Path


def store_folder(named: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the store is: as named, else $MODELMILL_STORE, else modelmill in the user's cache folder."""
    if named is not None:
        return named
    if environment.get("MODELMILL_STORE"):
        return Path(environment["MODELMILL_STORE"])
    cache = environment.get("XDG_CACHE_HOME")
    return Path(cache) / "modelmill" if cache else Path.home() / ".cache" / "modelmill"
