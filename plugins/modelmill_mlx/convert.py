"""A checkpoint in Hugging Face layout → an MLX model folder, as `mlx_lm convert` makes it (ternary groups: exact)."""

import logging
import shutil
from itertools import islice
from typing import Any

from modelmill import ConvertError, Job, create
from modelmill.checkpoint import file_sizes, open_checkpoint, read_object, write_safetensors
from modelmill_mlx.files import INDEX, METADATA, config_text, copied, index_text, shards
from modelmill_mlx.layout import kept_layers, plan_layout
from modelmill_mlx.predict import Options, request, require_tokenizer
from modelmill_mlx.readback import check_written

logger = logging.getLogger(__name__)


def run(job: Job[Options]) -> None:
    """Write config.json, the weights with their index, and the tokenizer. ConvertError for what cannot be done."""
    stored_bytes = _kernel()
    files = file_sizes(job.source)
    require_tokenizer(files)
    config = read_object(job.source / "config.json")
    generation = read_object(job.source / "generation_config.json") if "generation_config.json" in files else {}
    with open_checkpoint(job.source) as checkpoint:
        layout = plan_layout(config, checkpoint.tensors, request(job.scheme, job.options))
        for reason, paths in kept_layers(layout).items():
            logger.warning("%d layers stay as they are because %s: %s", len(paths), reason, ", ".join(paths))
        parts = stored_bytes(checkpoint, layout.weights, job.limits.threads)
        for name, tensors in shards(layout):
            write_safetensors(job, name, tensors, islice(parts, len(tensors)), METADATA)
        check_written(job.out, checkpoint, layout.weights)
    for name in copied(files):
        shutil.copyfile(job.source / name, job.out / name)
    for name, text in (("config.json", config_text(config, generation, layout)), (INDEX, index_text(layout))):
        with create(job, name) as file:
            file.write(text.encode())


def _kernel() -> Any:
    try:
        from modelmill_mlx.kernel import stored_bytes
    except ImportError as error:
        raise ConvertError(
            "MLX does not run on this machine: it has wheels for macOS on Apple silicon and for Linux with glibc 2.35 "
            f"or newer, installed by modelmill[mlx] ({error})"
        ) from error
    return stored_bytes
