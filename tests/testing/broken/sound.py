"""Nothing is wrong with it: the control, which uses its scratch folder and leaves it empty."""

import shutil
from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    linked = job.limits.scratch / "model"
    linked.mkdir()
    for path in job.source.iterdir():
        (linked / path.name).symlink_to(path)
    tally.run(replace(job, source=linked))
    shutil.rmtree(linked)


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
