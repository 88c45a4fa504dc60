"""What of a requirement is not installed here, the extras that it names included."""

import importlib.metadata

from packaging.requirements import Requirement


def missing(requirement: str) -> tuple[str, ...]:
    """The distributions that a requirement such as `modelmill[kms]` asks for and that are not there, or too old.

    What a distribution requires without any extra is left to pip, which installed it.
    """
    found: dict[str, None] = {}
    waiting, seen = [requirement], set[str]()
    while waiting:
        text = waiting.pop(0)
        if text in seen:
            continue
        seen.add(text)
        wanted = Requirement(text)
        try:
            there = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            found[f"{wanted.name}{wanted.specifier}"] = None
            continue
        if not wanted.specifier.contains(there.version, prereleases=True):
            found[f"{wanted.name}{wanted.specifier}"] = None
        for more in there.requires or ():
            marker = Requirement(more).marker
            if (
                marker
                and not marker.evaluate({"extra": ""})
                and any(marker.evaluate({"extra": extra}) for extra in wanted.extras)
            ):
                waiting.append(more.partition(";")[0].strip())
    return tuple(found)
