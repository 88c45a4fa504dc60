"""A sound little plugin, text in and a table of its words out, of which the broken ones each change one thing."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelmill import Converter, ConvertError, Estimate, Facts, Format, Job, Outlook

FILE = "tally.json"


@dataclass(frozen=True)
class Options:
    order: Literal["word", "number"] = "word"


def run(job: Job[Options]) -> None:
    words = Counter(text(job.source).split())
    key = (lambda item: item) if job.options.order == "word" else (lambda item: (-item[1], item[0]))
    (job.out / FILE).write_text(json.dumps({"tally": sorted(words.items(), key=key)}))


def text(folder: Path) -> str:
    try:
        found = "".join(path.read_text("ascii") for path in sorted(folder.iterdir()))
    except UnicodeDecodeError as error:
        raise ConvertError(f"the text is not ASCII: {error.reason}") from None
    if not found.strip().endswith("."):
        raise ConvertError("the text ends in the middle of a sentence")
    return found


def infer(outlook: Outlook[Options]) -> Facts:
    return Facts(format="tally", scheme=outlook.scheme or "plain")


def estimate(outlook: Outlook[Options], inferred: Facts) -> Estimate:
    del inferred
    return Estimate(bytes_out=sum(outlook.facts.files.values()), peak_memory=1 << 20, seconds=0.01)


def facts(folder: Path) -> Facts:
    validate(folder)
    return Facts(format="tally", scheme="plain")


def validate(folder: Path) -> None:
    try:
        sound = [*json.loads((folder / FILE).read_text("ascii"))] == ["tally"]
    except (OSError, ValueError, TypeError) as error:
        raise ConvertError(f"{FILE}: is not JSON") from error
    if not sound:
        raise ConvertError(f"{FILE}: is not a tally")


FORMAT = Format(
    name="tally",
    schemes=("plain",),
    detect=lambda folder: (folder / FILE).is_file(),
    facts=facts,
    validate=validate,
)
CONVERTER = Converter(
    name="text-to-tally",
    takes="text",
    gives="tally",
    schemes=("plain",),
    options=Options,
    run=run,
    infer=infer,
    estimate=estimate,
)
