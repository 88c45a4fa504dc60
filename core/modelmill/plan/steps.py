"""The steps that targets need: each thought of once, with its key, its facts and its estimate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from modelmill.config import Target
from modelmill.errors import ModelmillError, PluginError
from modelmill.lock import SourceState
from modelmill.lock.records import matching
from modelmill.plan import keys
from modelmill.plan.options import decoded_options
from modelmill.plan.records import Leaf, Origin, Step
from modelmill.registry import Offer, Registry
from modelmill.types import Facts, Hardware, Lineage, Maker, Outlook, Refusal


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Every step that was thought of in one planning, so that equal ones are thought of once."""

    sources: Mapping[str, SourceState]
    registry: Registry
    hardware: Mapping[str, Hardware]
    requantize: Mapping[str, bool]
    identify: keys.Identify
    _known: dict[str, Step] = field(default_factory=dict)
    _thought: dict[Any, Step | Refusal] = field(default_factory=dict)
    _identities: dict[tuple[str, str, tuple[tuple[str, str], ...]], keys.Identity] = field(default_factory=dict)
    _leaves: dict[tuple[str, tuple[str, ...]], Leaf] = field(default_factory=dict)
    _decoded: dict[tuple[str, str], Any] = field(default_factory=dict)

    def chain(self, wanted: tuple[str, ...]) -> dict[str, Step]:
        """The steps of these keys and all that they need, each after what it needs."""
        needed: dict[str, Step] = {}
        for key in wanted:
            self._gather(key, needed)
        return needed

    def _gather(self, key: str, needed: dict[str, Step]) -> None:
        """Add a step, after all that it needs."""
        if key not in needed:
            step = self._known[key]
            for earlier in step.needs():
                self._gather(earlier, needed)
            needed[key] = step

    def step(
        self, target: Target, kind: str, offer: Offer[Maker[Any]], source: Origin, facts: Facts, wanted: str | None
    ) -> Step | Refusal:
        """The step that applies a maker to an input as a target asks, thought of once for all targets alike."""
        record = offer.record
        options = self._options(target, record)
        if isinstance(options, Refusal):
            return options
        hardware = self.hardware[target.hardware].only(record.uses_hardware) if record.uses_hardware else None
        lineage = _lineage(self.sources[target.source]) if record.uses_lineage else None
        inputs = self._inputs(target, offer, source, facts)
        if isinstance(inputs, Refusal):
            return inputs
        allowed = self.requantize[target.source]
        shown = tuple(sorted(hardware.fields.items(), key=lambda item: item[0])) if hardware else None
        bound = tuple((name, _identify(item)) for name, item in inputs.items())
        thought = (kind, record.name, _identify(source), wanted, repr(options), repr(shown), lineage, bound, allowed)
        if thought not in self._thought:
            outlook = Outlook(
                facts=facts,
                scheme=wanted,
                options=options,
                inputs={name: self._facts(item) for name, item in inputs.items()},
                hardware=hardware,
                lineage=lineage,
            )
            self._thought[thought] = self._think(kind, offer, source, inputs, outlook, allowed=allowed)
        return self._thought[thought]

    def _think(
        self,
        kind: str,
        offer: Offer[Maker[Any]],
        source: Origin,
        inputs: Mapping[str, Origin],
        outlook: Outlook[Any],
        *,
        allowed: bool,
    ) -> Step | Refusal:
        record = offer.record
        found = _call(offer, record.infer, outlook)
        if isinstance(found, Refusal):
            return found
        if found.quantization not in (None, outlook.facts.quantization) and outlook.facts.quantization and not allowed:
            return Refusal(
                reason=f"the model was quantized before, to {outlook.facts.quantization}, and {found.quantization} on "
                "top of it loses more than it says; start from the original weights, or say `requantize = true` in "
                "the source"
            )
        scheme = outlook.scheme or found.scheme
        if scheme is None or scheme not in record.schemes:
            raise PluginError(f"{offer.plugin}: {record.name!r} infers the scheme {scheme!r}, which it does not offer")
        settled = replace(outlook, scheme=scheme)
        estimate = _call(offer, record.estimate, settled, found)
        parts = keys.components(
            kind=kind,
            offer=offer,
            identity=self._identity(kind, offer, settled, found),
            outlook=settled,
            source=source,
            inputs=inputs,
        )
        step = Step(
            key=keys.key(parts),
            kind=cast("Literal['converter', 'quantizer']", kind),
            offer=offer,
            scheme=scheme,
            options=outlook.options,
            hardware=outlook.hardware,
            lineage=outlook.lineage,
            source=source,
            inputs=inputs,
            facts=found,
            estimate=estimate,
            components=parts,
            validator=self._validator(found.format),
        )
        return self._known.setdefault(step.key, step)

    def _validator(self, name: str) -> tuple[str, str] | None:
        return (self.registry.formats[name].plugin.module, name) if name in self.registry.formats else None

    def _identity(self, kind: str, offer: Offer[Maker[Any]], outlook: Outlook[Any], facts: Facts) -> keys.Identity:
        record = offer.record
        more = {} if record.more_tools is None else _call(offer, record.more_tools, outlook, facts)
        name = (kind, record.name, tuple(sorted(more.items())))
        if name not in self._identities:
            self._identities[name] = self.identify(offer, more)
        return self._identities[name]

    def _facts(self, origin: Origin) -> Facts:
        return origin.source.facts if isinstance(origin, Leaf) else self._known[origin].facts

    def leaf(self, name: str, patterns: tuple[str, ...]) -> Leaf:
        """Those files of a source that match."""
        if (name, patterns) not in self._leaves:
            state = self.sources[name]
            self._leaves[name, patterns] = Leaf(source=state, files=matching(state.locked.files, patterns))
        return self._leaves[name, patterns]

    def _inputs(
        self, target: Target, offer: Offer[Maker[Any]], source: Origin, facts: Facts
    ) -> dict[str, Origin] | Refusal:
        """The named inputs of a maker, from what the target names; made by a step where the format is another."""
        found: dict[str, Origin] = {}
        for name, wanted in offer.record.inputs.items():
            if name not in target.inputs:
                if not wanted.required:
                    continue
                own = self._input_of_model(target, wanted.format, source, facts)
                if own is None:
                    return Refusal(
                        reason=f"{offer.record.name} needs an input {name!r} of format {wanted.format}: name a "
                        f"source in `inputs = {{ {name} = … }}`"
                    )
                if isinstance(own, Refusal):
                    return own
                found[name] = own.key
                continue
            given = self.sources[target.inputs[name]]
            if given.facts.format == wanted.format:
                found[name] = self.leaf(target.inputs[name], wanted.reads)
                continue
            made = self._made_input(target, wanted.format, given, source, facts, target.inputs[name])
            if isinstance(made, Refusal):
                return made
            found[name] = made.key
        return found

    def _input_of_model(self, target: Target, wanted: str, source: Origin, facts: Facts) -> Step | Refusal | None:
        """A step that makes an input of the model at hand and nothing else, such as a measure of its weights.

        None where no plugin makes one so.
        """
        for offer in self.registry.converters.all():
            record = offer.record
            if record.gives == wanted and record.takes == facts.format and not record.inputs:
                origin = self.leaf(target.source, record.reads) if isinstance(source, Leaf) else source
                return self.step(target, "converter", Offer(record=record, plugin=offer.plugin), origin, facts, None)
        return None

    def _made_input(
        self, target: Target, wanted: str, given: SourceState, source: Origin, facts: Facts, name: str
    ) -> Step | Refusal:
        """A step that makes an input of the wanted format from the model at hand and what the target gives.

        So an importance matrix is made from a calibration text with the very model that it is for.
        """
        for offer in self.registry.converters.all():
            record = offer.record
            slots = [slot for slot, item in record.inputs.items() if item.format == given.facts.format]
            if record.gives != wanted or record.takes != facts.format or len(slots) != 1:
                continue
            helper = replace(target, inputs={slots[0]: name}, options=target.options)
            return self.step(helper, "converter", Offer(record=record, plugin=offer.plugin), source, facts, None)
        return Refusal(
            reason=f"source {name!r} is {given.facts.format}, {wanted} is wanted, and no plugin makes one of the other"
        )

    def _options(self, target: Target, record: Maker[Any]) -> Any:
        asked = (record.name, repr(target.options))
        if asked not in self._decoded:
            self._decoded[asked] = decoded_options(target, record)
        return self._decoded[asked]


def _lineage(state: SourceState) -> Lineage | None:
    """Where a source's files come from; None for those that lie on this machine, known by their content alone."""
    return Lineage(uri=state.locked.uri, revision=state.locked.revision) if state.root is None else None


def _identify(origin: Origin) -> Any:
    return origin if isinstance(origin, str) else tuple((file.path, file.sha256) for file in origin.files)


def _call(offer: Offer[Maker[Any]], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a plugin's pure function; whatever it raises is told with the plugin's name."""
    try:
        return function(*arguments)
    except ModelmillError:
        raise
    except Exception as error:
        name = getattr(function, "__name__", "infer")
        raise PluginError(
            f"{offer.plugin}: {offer.record.name!r} failed to plan ({name}): {type(error).__name__}: {error}"
        ) from error
