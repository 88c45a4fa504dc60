"""The converters `set-chat-template` and `set-generation-config`: a checkpoint with one small file in place of its own.

The formats `chat-template` and `generation-config` are those files, each in a folder of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmill import Converter, ConvertError, Estimate, Facts, Format, Input, Job, Outlook, Refusal, create
from modelmill.checkpoint import check_chat_template, file_sizes, find_tensors, read_object, read_text
from modelmill_huggingface import carry

SCHEMES = ("F32", "F16", "BF16")
TEMPLATE = "chat_template.jinja"
NAMED = "additional_chat_templates/"
TOKENIZER = "tokenizer_config.json"
GENERATION = "generation_config.json"
_TEMPLATE_LIMIT = 4 * 1024**2
_MEMORY = 24_000_000
_BYTES_PER_SECOND = 600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """There is nothing to choose."""


def _one_file(folder: Path, what: str) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:5]) or "none"
        raise ConvertError(f"a {what} is one file in a folder of its own; there are {len(files)} here: {names}")
    return files[0]


def _is_one(folder: Path, *suffixes: str) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files) == 1 and files[0].suffix in suffixes


def template_facts(folder: Path) -> Facts:
    """The template's text. ConvertError for one that a checkpoint could not have either."""
    path = _one_file(folder, "chat template")
    text = read_text(path, _TEMPLATE_LIMIT)
    check_chat_template(text, path.name)
    if not text.strip():
        raise ConvertError(f"{path.name}: holds no template")
    return Facts(format="chat-template", files=file_sizes(folder), details={"chat_template": text})


def generation_facts(folder: Path) -> Facts:
    """The settings. ConvertError for a file that is not one JSON object."""
    path = _one_file(folder, "generation config")
    found = read_object(path)
    return Facts(format="generation-config", files=file_sizes(folder), details={"generation": found})


CHAT_TEMPLATE = Format(
    name="chat-template",
    schemes=(),
    detect=lambda folder: _is_one(folder, ".jinja", ".jinja2", ".j2"),
    facts=template_facts,
    validate=lambda folder: _check(template_facts(folder)),
)
GENERATION_CONFIG = Format(
    name="generation-config",
    schemes=(),
    detect=lambda folder: _is_one(folder, ".json"),
    facts=generation_facts,
    validate=lambda folder: _check(generation_facts(folder)),
)


def _check(_: Facts) -> None:
    """Reading the facts was the check."""


def _own_scheme(outlook: Outlook[NoOptions]) -> Refusal | None:
    scheme = outlook.facts.scheme
    if scheme in SCHEMES and outlook.scheme in (None, scheme):
        return None
    return Refusal(
        reason=f"the checkpoint is {scheme}, and keeps what it is: {', '.join(SCHEMES)} can be overridden in"
    )


def _with_details(outlook: Outlook[NoOptions], files: Mapping[str, int], details: Mapping[str, Any]) -> Facts:
    base = outlook.facts
    kept = {**carry.sizes(base.files), **files}
    if TEMPLATE in files:
        kept = {path: size for path, size in kept.items() if not path.startswith(NAMED)}
    return replace(base, files=dict(sorted(kept.items())), details={**base.details, **details})


def _infer_template(outlook: Outlook[NoOptions]) -> Facts | Refusal:
    tokenizer = outlook.facts.details.get("tokenizer")
    if tokenizer is None:
        return Refusal(reason="the checkpoint has no tokenizer, so nothing would use a chat template")
    text = outlook.inputs["chat_template"].details["chat_template"]
    return _own_scheme(outlook) or _with_details(
        outlook,
        {TEMPLATE: len(text.encode())},
        {"tokenizer": {**tokenizer, "chat_template": text, "named_templates": {}}},
    )


def _infer_generation(outlook: Outlook[NoOptions]) -> Facts | Refusal:
    given = outlook.inputs["generation_config"]
    size = sum(given.files.values())
    return _own_scheme(outlook) or _with_details(
        outlook, {GENERATION: size}, {"generation": given.details["generation"]}
    )


def _estimate(_: Outlook[NoOptions], facts: Facts) -> Estimate:
    size = sum(facts.files.values())
    return Estimate(bytes_out=size, peak_memory=_MEMORY, seconds=0.2 + size / _BYTES_PER_SECOND)


def _set_template(job: Job[NoOptions]) -> None:
    given = _one_file(job.inputs["chat_template"], "chat template")
    text = template_facts(job.inputs["chat_template"]).details["chat_template"]
    config = read_object(job.source / TOKENIZER) if (job.source / TOKENIZER).is_file() else {}
    # Whoever reads the entry in the settings and not the file, as older runtimes do, must find the same template.
    is_in_config = "chat_template" in config
    find_tensors(job.source)
    # Those for tool use and the like would be chosen before the one that is given.
    named = [path for path in file_sizes(job.source) if path.startswith(NAMED)]
    carry.carry(job, but=(TEMPLATE, *named, TOKENIZER) if is_in_config else (TEMPLATE, *named))
    carry.copy(job, given, TEMPLATE)
    if is_in_config:
        with create(job, TOKENIZER) as file:
            file.write(json.dumps({**config, "chat_template": text}, indent=2, ensure_ascii=False).encode() + b"\n")


def _set_generation(job: Job[NoOptions]) -> None:
    given = _one_file(job.inputs["generation_config"], "generation config")
    generation_facts(job.inputs["generation_config"])
    find_tensors(job.source)
    carry.carry(job, but=(GENERATION,))
    carry.copy(job, given, GENERATION)


SET_CHAT_TEMPLATE = Converter(
    name="set-chat-template",
    takes="huggingface",
    gives="huggingface",
    schemes=SCHEMES,
    options=NoOptions,
    run=_set_template,
    infer=_infer_template,
    estimate=_estimate,
    reads=carry.READS,
    inputs={"chat_template": Input(format="chat-template", required=True)},
)
SET_GENERATION_CONFIG = Converter(
    name="set-generation-config",
    takes="huggingface",
    gives="huggingface",
    schemes=SCHEMES,
    options=NoOptions,
    run=_set_generation,
    infer=_infer_generation,
    estimate=_estimate,
    reads=carry.READS,
    inputs={"generation_config": Input(format="generation-config", required=True)},
)
