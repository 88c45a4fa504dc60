"""What a build would do for each target, with the reason: the plan held against what is remembered and stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmill.artifact.assemble import state
from modelmill.build.prepare import Prepared
from modelmill.build.sign import key_digests
from modelmill.execute import Work
from modelmill.history.explain import Listing, Reasons, reasons
from modelmill.history.memory import Memory, current, listing, memories, recall
from modelmill.installed.digests import engine_files, package_files
from modelmill.plan import Plan, PlannedTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What would happen to one target, and why.

    `reasons` is None where no build of the target is remembered. `lost` are steps that would run although
    nothing that they depend on changed: their results are not in the store. `artifact` says how the folder in
    dist/ is: `whole`, `changed`, `missing`. `compared` is the build file whose build it is compared with.
    """

    target: str
    to_run: tuple[str, ...]
    reasons: Reasons | None
    lost: tuple[str, ...]
    artifact: str
    compared: str | None
    renamed_from: str | None = None

    @property
    def steps_differ(self) -> bool:
        """Whether some step is another than in the last build."""
        return self.reasons is None or bool(self.reasons.steps or self.reasons.gone)

    @property
    def up_to_date(self) -> bool:
        """Whether a build would leave the artifact as it lies there."""
        if self.to_run or self.artifact != "whole" or self.steps_differ:
            return False
        return self.renamed_from is None and not (self.reasons and self.reasons.artifact)


def why(prepared: Prepared, todo: Work, output: Path | None = None) -> tuple[Why, ...]:
    """Explain every target of a plan, given the steps that a build would run, and where its output would go."""
    build = prepared.build
    folder = output or build.path.absolute().parent / "dist"
    release = folder / build.project.name / build.project.version
    listings, key = _listings(prepared), key_digests(build, prepared.registry)
    return tuple(
        _explain(prepared, current(prepared.plan, planned, build, key), planned, todo, release, listings)
        for planned in prepared.plan.targets
    )


def _explain(
    prepared: Prepared, now: Memory, planned: PlannedTarget, todo: Work, release: Path, listings: Listing
) -> Why:
    store, plan = prepared.store, prepared.plan
    before = recall(store, now.file, now.project, now.target)
    renamed = None
    if before is None:
        before = _namesake(prepared, now)
        renamed = before.target if before else None
    found = reasons(before, now, listings) if before else None
    run = [key for key in plan.behind(planned.key) if key in todo.steps]
    changed = {step.key for step in found.steps} if found else set(run)
    return Why(
        target=now.target,
        to_run=tuple(todo.steps[key].title for key in run),
        reasons=found,
        lost=tuple(plan.steps[key].title for key in run if key not in changed),
        artifact=state(store, release / now.target),
        compared=before.file if before else None,
        renamed_from=renamed,
    )


def _namesake(prepared: Prepared, now: Memory) -> Memory | None:
    """The last build of a target of this file that is there no longer and had the same steps: it was renamed."""
    gone = (
        item
        for item in memories(prepared.store)
        if item.file == now.file and item.key == now.key and item.target not in prepared.build.targets
    )
    return next(gone, None)


def _listings(prepared: Prepared) -> Listing:
    """Listings of packages as they are now, else as the store remembers them."""
    index = prepared.store.index
    now: dict[str, Mapping[str, str]] = {}
    for key, value in _modules(prepared.plan).items():
        now[key] = engine_files(index) if value is None else package_files(value, index)
    return lambda digest: now.get(digest) or listing(prepared.store, digest)


def _modules(plan: Plan) -> dict[str, str | None]:
    """Every package that has a part in a plan: digest → module, None for the engine."""
    found: dict[str, str | None] = {}
    for step in plan.steps.values():
        found[step.components["plugin"]["digest"]] = step.components["plugin"]["module"]
        found[step.components["engine"]["digest"]] = None
    return found
