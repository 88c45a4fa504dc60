"""A step's result, checked by the owner of its format."""

import importlib
import os
import subprocess
from pathlib import Path

from modelmill.errors import ConvertError


class InvalidResultError(Exception):
    """A step's result is not sound by its own format's word: the plugin's fault, not the input's."""


def check(owner: tuple[str, str], out: Path, checker: str | None) -> None:
    """Have the format's owner check a result; raise InvalidResultError with what it says."""
    if checker is None:
        validate(owner, out)
        return
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [checker, "-P", "-c", _CHECK, *owner, str(out)]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise InvalidResultError(done.stdout.decode(errors="replace") or f"its check ended with {done.returncode}")


_CHECK = """
import pathlib, sys
from modelmill.step import InvalidResultError, validate
try:
    validate((sys.argv[1], sys.argv[2]), pathlib.Path(sys.argv[3]))
except InvalidResultError as error:
    sys.exit(print(error, end="", flush=True) or 1)
"""


def validate(owner: tuple[str, str], out: Path) -> None:
    """Check a result as the owner (module, format) of its format does. InvalidResultError where it is not sound."""
    module, name = owner
    for record in importlib.import_module(module).modelmill_formats():
        if record.name == name:
            try:
                record.validate(out)
            except ConvertError as error:
                raise InvalidResultError(str(error)) from error
