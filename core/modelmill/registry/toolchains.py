"""Whether a toolchain that a record names can be one."""

import re
from typing import Any

from modelmill.types import Maker

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def toolchain_fault(record: Any) -> str | None:
    """What is wrong with the toolchain that a record names, if it names one."""
    if not isinstance(record, Maker) or record.toolchain is None:
        return None
    name, requires = record.toolchain.name, record.toolchain.requires
    where = f"offers {record.name!r} with a toolchain {name!r}"
    if not _NAME.fullmatch(name):
        return f"{where}, whose name is not small letters, digits and dashes"
    if record.tools or record.more_tools:
        return f"{where} and with tools: its tools are what the toolchain requires"
    if not requires:
        return f"{where} that requires nothing"
    wrong = next((found for text in requires if (found := _fault(text))), None)
    return None if wrong is None else f"{where}: {wrong}"


def _fault(text: str) -> str | None:
    """Why a toolchain cannot require this, if it cannot."""
    from packaging.requirements import InvalidRequirement, Requirement  # only where some plugin has a toolchain

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"{text!r} is not a requirement: {str(error).splitlines()[0]}"
    return f"{text!r} names a URL; name a version instead" if requirement.url else None
