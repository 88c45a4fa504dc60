"""A job and the record that it is for, as JSON data between the engine and a step's child."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.decode import decode, encode
from modelmill.types import Hardware, Job, Limits, Lineage, Maker

HOOKS = {"converter": "modelmill_converters", "quantizer": "modelmill_quantizers"}


def encode_job(
    module: str,
    kind: str,
    name: str,
    job: Job[Any],
    validate: tuple[str, str] | None = None,
    checker: str | None = None,
) -> dict[str, Any]:
    """A job and the record that it is for, as JSON data for the child.

    `validate` names the module and the format whose owner checks the result; `checker` is the Python that does so
    where it is another than the step's, because the owner's tools are installed there.
    """
    return {
        "validate": validate,
        "checker": checker,
        "module": module,
        "kind": kind,
        "name": name,
        "source": str(job.source),
        "inputs": {key: str(path) for key, path in job.inputs.items()},
        "out": str(job.out),
        "scheme": job.scheme,
        "options": encode(job.options),
        "hardware": None if job.hardware is None else dict(job.hardware.fields),
        "lineage": None if job.lineage is None else {"uri": job.lineage.uri, "revision": job.lineage.revision},
        "limits": {
            "threads": job.limits.threads,
            "memory": job.limits.memory,
            "scratch": str(job.limits.scratch),
            "timeout": job.limits.timeout,
        },
    }


def decode_job(data: Mapping[str, Any]) -> tuple[Maker[Any], Job[Any]]:
    """Find the record that a job is for, in the plugin that offers it, and rebuild the job."""
    maker = find(data["module"], data["kind"], data["name"])
    limits = data["limits"]
    job = Job(
        source=Path(data["source"]),
        inputs={key: Path(path) for key, path in data["inputs"].items()},
        out=Path(data["out"]),
        scheme=data["scheme"],
        options=decode(maker.options, data["options"]),
        hardware=None if data["hardware"] is None else Hardware(fields=data["hardware"]),
        lineage=None if data["lineage"] is None else Lineage(**data["lineage"]),
        limits=Limits(
            threads=limits["threads"],
            memory=limits["memory"],
            scratch=Path(limits["scratch"]),
            timeout=limits["timeout"],
        ),
    )
    return maker, job


def find(module: str, kind: str, name: str) -> Maker[Any]:
    """The record of this name that a plugin's module offers."""
    offers = getattr(importlib.import_module(module), HOOKS[kind])()
    maker: Maker[Any]
    for maker in offers:
        if maker.name == name:
            return maker
    raise LookupError(f"{module} offers no {kind} {name!r}")
