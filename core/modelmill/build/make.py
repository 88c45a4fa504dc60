"""A prepared build, made: steps run, artifacts placed, the release indexed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelmill.artifact.index import write_index
from modelmill.build.placing import Artifact, Placing
from modelmill.build.prepare import Prepared
from modelmill.build.sign import key_digests, open_signer
from modelmill.build.whole import wanting
from modelmill.errors import ModelmillError, SourceError
from modelmill.execute import Event, Settings, Work, execute, fuse, work
from modelmill.history.memory import begin, remember
from modelmill.plan import Leaf
from modelmill_artifacts.release import RELEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a build came to. `failures` are by step key or target name."""

    artifacts: tuple[Artifact, ...]
    failures: dict[str, ModelmillError]
    index: Path | None
    """The release's index, if this build wrote it or found it right."""
    wanting: tuple[str, ...] = ()
    """The targets to build before the release can have an index; none where it has one, or the build failed."""


def make(
    prepared: Prepared, output: Path, settings: Settings, listen: Callable[[Event], None], *, link: bool = False
) -> Made:
    """Run the steps whose results are not there and place every target's artifact. Finished work stays.

    The release's index is written when every target that is built by default or lies there is what a build of all
    would make now, whichever build made it.
    """
    store, build = prepared.store, prepared.build
    signer, key = open_signer(build, prepared.registry), key_digests(build, prepared.registry)
    todo = outstanding(prepared)
    if todo.steps:
        store.sweep()
        begin(store, prepared.plan, build)
    outcome = execute(prepared.plan, todo, store, prepared.resolver, settings, listen, prepared.pinner.environment)
    folder = output / build.project.name / build.project.version
    placing = Placing(prepared=prepared, folder=folder, signer=signer, link=link)
    artifacts, failures = [], dict(outcome.failures)
    for planned in prepared.plan.targets:
        result = outcome.results.get(planned.key)
        if result is None:
            continue
        try:
            artifacts.append(placing.place(planned, result))
            remember(store, prepared.plan, planned, build, key)
        except ModelmillError as error:
            failures[planned.target.name] = error
            if not settings.keep_going:
                break
    lacks = () if failures else wanting(placing, {item.target for item in artifacts})
    index = None if failures or lacks else write_index(build, folder, signer, store.warn)
    store.index.save()
    lacks = () if (folder / RELEASE).exists() else lacks  # nothing that an earlier build's index names was replaced
    return Made(artifacts=tuple(artifacts), failures=failures, index=index, wanting=lacks)


def fetch_inputs(prepared: Prepared, *, keep_going: bool) -> None:
    """Fetch what the steps that will run read and the store lacks, before the first of them starts.

    With `keep_going` a source that fails is left for its steps to fail on.
    """
    for step in outstanding(prepared).steps.values():
        for item in (step.source, *step.inputs.values()):
            if isinstance(item, Leaf):
                try:
                    prepared.resolver.bring(item.source, item.files)
                except SourceError:
                    if not keep_going:
                        raise


def outstanding(prepared: Prepared) -> Work:
    """The steps that a build would run, fused where that is cheaper."""
    wanted = tuple(planned.key for planned in prepared.plan.targets)
    todo = work(prepared.plan, wanted, prepared.store.result)
    return fuse(prepared.plan, todo, frozenset(wanted), prepared.registry)
