"""Whether a plugin and this modelmill fit each other: what it declares, and what it uses that will go."""

import ast
import contextlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from modelmill import contract
from modelmill.contract import API_VERSION, DECLARATION, ContractWarning, sentence


def version_fault(api: object, distribution: str) -> str | None:
    """Why a plugin that declares this version cannot be used here; None where it can, or declares none.

    A plugin without a declaration is taken to be of version 1, the only one that had none.
    """
    if api is None and API_VERSION == 1:
        return None
    if api is not None and type(api) is not int:
        return f"declares {DECLARATION} = {api!r}; it is a whole number, such as {API_VERSION}"
    if api == API_VERSION:
        return None
    other = "an older" if (api or 1) < API_VERSION else "a newer"
    return (
        f"was written for version {api or 1} of the plugin contract, and modelmill "
        f"{importlib.metadata.version('modelmill')} offers version {API_VERSION}; install a {distribution} for this "
        f"version, or {other} modelmill"
    )


def declared(module: str) -> object:
    """The version that a module declares, read from its source: it cannot be imported. None where that tells none."""
    with contextlib.suppress(Exception):  # whatever is wrong with the module is told as what importing it raised
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            for node in ast.parse(Path(spec.origin).read_bytes()).body:
                if isinstance(node, ast.Assign) and any(ast.unparse(item) == DECLARATION for item in node.targets):
                    return ast.literal_eval(node.value)
    return None


@contextlib.contextmanager
def listening(told: list[str]) -> Iterator[None]:
    """Put what a plugin is warned of about the contract in a list; other warnings go where they would."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ContractWarning)
        try:
            yield
        finally:
            told.extend(str(item.message) for item in heard if item.category is ContractWarning)
    for item in heard:
        if item.category is not ContractWarning:
            warnings.showwarning(item.message, item.category, item.filename, item.lineno)


def deprecated_fields(record: Any) -> Iterator[str]:
    """What to tell of the deprecated fields that a record gives a value."""
    for item in fields(record) if contract.DEPRECATED else ():
        for kind in type(record).__mro__:
            name = f"{kind.__name__}.{item.name}"
            default = item.default if item.default_factory is MISSING else item.default_factory()
            if name in contract.DEPRECATED and getattr(record, item.name) != default:
                yield sentence(name)
