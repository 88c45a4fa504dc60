"""Whether a text is a requirement that a toolchain may have."""

from packaging.requirements import InvalidRequirement, Requirement


def fault(text: str) -> str | None:
    """Why a toolchain cannot require this, if it cannot."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"{text!r} is not a requirement: {str(error).splitlines()[0]}"
    return f"{text!r} names a URL; name a version instead" if requirement.url else None
