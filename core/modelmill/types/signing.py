"""A way to sign."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelmill_artifacts.keys import PublicKey
from modelmill_artifacts.signature import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerOffer:
    """A way to sign, picked by the scheme of `[sign] key`'s URI.

    `open(key, base)` takes what follows `scheme:` and the folder that a relative path in it starts from, and
    gives a signer. `create(key, base, password)` makes a new key there, where this kind of key can be made
    here. `files(key, base)` are the files that a key follows from, where it follows from files alone. They and
    the signer raise SignError. `requirement` is what to install where a part of it is missing,
    such as `modelmill[kms]`.
    """

    scheme: str
    open: Callable[[str, Path], Signer]
    create: Callable[[str, Path, str | None], PublicKey] | None = None
    files: Callable[[str, Path], tuple[Path, ...]] | None = None
    requirement: str = ""
