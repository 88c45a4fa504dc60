"""The records that this plugin offers."""

import sys
from collections.abc import Iterator
from pathlib import Path

from modelmill import Converter, Format, Job, TensorData
from modelmill_mlx import format as mlx
from modelmill_mlx.files import COPIED
from modelmill_mlx.predict import Options, estimate, infer
from modelmill_mlx.schemes import SCHEMES


def _tensors(folder: Path) -> Iterator[TensorData]:
    from modelmill_mlx.read import tensors

    return tensors(folder)


def _run(job: Job[Options]) -> None:
    from modelmill_mlx.convert import run

    run(job)


FORMAT = Format(
    name="mlx",
    schemes=SCHEMES,
    detect=mlx.detect,
    facts=mlx.facts,
    validate=mlx.validate,
    tensors=_tensors,
    usage="mlx_lm.generate --model {path} --prompt 'The capital of France is'",
    runtimes=("mlx",),
)

FROM_HUGGINGFACE = Converter(
    name="huggingface-to-mlx",
    takes="huggingface",
    gives="mlx",
    schemes=SCHEMES,
    options=Options,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=("config.json", "model*.safetensors", "model.safetensors.index.json", *COPIED),
    tools=("mlx", "mlx-metal" if sys.platform == "darwin" else "mlx-cpu"),
    requirement="modelmill[mlx]",
)
"""The only way in, whatever the scheme: a quantizer of its own would make each target's route ambiguous, and would
write and read the whole model once more."""
