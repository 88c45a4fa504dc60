"""What a target's options mean to its steps."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from modelmill.config import Target
from modelmill.decode import DecodeError, decode, suggestion
from modelmill.errors import PlanError
from modelmill.plan.records import Step
from modelmill.types import Maker, Refusal


def decoded_options(target: Target, record: Maker[Any]) -> Any:
    """A maker's options: those of the target's that it has a field for, and its own table of them.

    A Refusal where it cannot have these: another maker may be meant by the same word.
    """
    known = {item.name for item in fields(record.options)}
    own = target.options.get(record.name)
    table = {key: value for key, value in target.options.items() if key in known}
    if isinstance(own, Mapping):
        table |= own
    try:
        return decode(record.options, table)
    except DecodeError as error:
        return Refusal(reason=f"options of {record.name}: {error}")


def check_options(target: Target, steps: Iterable[Step]) -> None:
    """PlanError unless every option goes to exactly one step."""
    names = {step.offer.record.name: {item.name for item in fields(step.offer.record.options)} for step in steps}
    for option in target.options:
        takers = sorted(name for name, known in names.items() if option in known)
        if len(takers) > 1:
            raise PlanError(
                f"target {target.name!r}: option {option!r} could be for {' or '.join(takers)}; write it as "
                f"`options = {{ {takers[0]} = {{ {option} = … }} }}`"
            )
        if not takers and option not in names:
            known = {item for items in names.values() for item in items}
            raise PlanError(f"target {target.name!r}: no step has an option {option!r}; {suggestion(option, known)}")
