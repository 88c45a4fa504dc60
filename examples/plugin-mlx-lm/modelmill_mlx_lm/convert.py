"""The work: mlx-lm's own conversion, in the tool environment, beside the checkpoint's own tokenizer."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Job
from modelmill.checkpoint import facts, open_checkpoint

from modelmill_mlx_lm.plan import COPIED, FLOATS, SCHEMES, Options

_WRITTEN = ("config.json", "model.safetensors.index.json")


def run(job: Job[Options]) -> None:
    """Write an MLX folder. Raises ConvertError for a checkpoint that is not sound, and where mlx-lm fails."""
    found = facts(job.source)
    with open_checkpoint(job.source):
        pass  # headers, shards and sizes are checked, and told of by name, before mlx-lm looks at them
    os.environ["HF_HUB_OFFLINE"] = "1"  # for the tools that read it when they are imported
    made, source = job.limits.scratch / "mlx", _readable(job, found.config)
    try:
        _convert(job, str(source), str(made))
    except Exception as error:  # whatever a model's class raises, it is about what it was given
        raise ConvertError(f"mlx-lm cannot convert this checkpoint: {_sentence(error, str(source))}") from error
    for path in sorted(made.iterdir()):
        if path.name in _WRITTEN or path.suffix == ".safetensors":
            shutil.move(path, job.out / path.name)
    for name in COPIED:
        if (job.source / name).is_file():
            shutil.copyfile(job.source / name, job.out / name)


def _readable(job: Job[Options], config: Mapping[str, Any]) -> Path:
    """The checkpoint with its configuration as mlx-lm's models read it, the other files linked."""
    folder = job.limits.scratch / "source"
    folder.mkdir()
    for path in job.source.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    (folder / "config.json").write_text(json.dumps({**older_names(config), **config}))
    return folder


def older_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The names that transformers had before its release 5, which models of mlx-lm ask for or take a default without.

    A default would be a model that computes something else, and says nothing.
    """
    found: dict[str, Any] = {}
    if isinstance(rope := config.get("rope_parameters"), Mapping):
        whole = rope.get("full_attention", rope)
        found = {name: whole[name] for name in ("rope_theta", "partial_rotary_factor") if name in whole}
        if whole.get("rope_type", "default") != "default":
            found["rope_scaling"] = {key: value for key, value in whole.items() if key != "rope_theta"}
        if "sliding_attention" in rope:
            found["rope_local_base_freq"] = rope["sliding_attention"].get("rope_theta")
        if config.get("model_type") == "gpt_neox":
            found |= {"rotary_emb_base": whole.get("rope_theta"), "rotary_pct": whole.get("partial_rotary_factor")}
    if "num_local_experts" in config:
        found["num_experts"] = config["num_local_experts"]
    return {name: value for name, value in found.items() if value is not None}


def _convert(job: Job[Options], source: str, out: str) -> None:
    import mlx.core as mx
    from mlx_lm import convert

    mx.set_default_device(mx.cpu)  # the same bytes on a machine with a GPU as on one without
    scheme = job.scheme
    how: dict[str, Any] = {"dtype": FLOATS[scheme]} if scheme in FLOATS else {"quantize": True}
    if scheme not in FLOATS:
        how |= {"q_bits": SCHEMES[scheme], "q_group_size": job.options.group_size}
    convert(source, out, **how)


def _sentence(error: Exception, source: str) -> str:
    text = f"{type(error).__name__}: {error}".replace(f"{source}/", "").replace(source, "the checkpoint")
    return " ".join(text.split())[:400]
