"""What tokens do to a model: mean squares, or the Hessian, of every activation that a matrix is applied to."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch

from modelmill import ConvertError
from modelmill_onnx.blocks import Array
from modelmill_onnx.sizes import GATHERED

CHUNK: Final = 512
"""Tokens of the text that go through the model at a time."""
_GOLDEN: Final = 2654435769
_TURN: Final = 2**32
"""The golden ratio as a share of 2^32: its multiples fall evenly and in no order."""
_FOLDER: Final = "session.model_external_initializers_file_folder_path"


def read_tokens(folder: Path, model: Path, chunks: int) -> list[Array]:
    """`chunks` pieces of CHUNK tokens, spread evenly over the text of all files of a folder in order of name.

    Shorter pieces for a model with a shorter context.

    ConvertError where the text is too short or is no text.
    """
    from tokenizers import Tokenizer

    try:
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file())
    except UnicodeDecodeError:
        raise ConvertError("the calibration text is not UTF-8") from None
    ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    size = min(CHUNK, json.loads((model / "genai_config.json").read_text())["model"]["context_length"])
    whole = len(ids) // size
    if whole < chunks:
        raise ConvertError(
            f"the calibration text has {len(ids):,} tokens and {chunks} pieces of {size} were asked for; "
            "give a longer text, or fewer `calibration_chunks`"
        )
    starts = [number * whole // chunks * size for number in range(chunks)]
    return [np.array([ids[start : start + size]], np.int64) for start in starts]


def made_up_tokens(model: Path) -> list[Array]:
    """One piece of tokens for who has no text: the vocabulary, gone through in even steps of the golden ratio.

    Which channels of an activation are large is the model's own doing, and hardly depends on the text.
    """
    config = json.loads((model / "genai_config.json").read_text())["model"]
    size = min(CHUNK, config["context_length"])
    return [np.array([[number * _GOLDEN % _TURN * config["vocab_size"] // _TURN for number in range(size)]], np.int64)]


def mean_squares(
    model: onnx.ModelProto, folder: Path, widths: Mapping[str, int], chunks: list[Array]
) -> dict[str, Array]:
    """The mean square of each channel, float32 [K], of every named activation of width K, over the chunks."""
    found: dict[str, Array] = {}
    for names in _passes({name: 4 * CHUNK * width for name, width in widths.items()}):
        session = _session(model, folder, names)
        sums = {name: np.zeros(widths[name], np.float64) for name in names}
        for chunk in chunks:
            for name, value in zip(names, _run(session, names, feeds(session, folder, chunk)), strict=True):
                rows = np.asarray(value, np.float64).reshape(-1, widths[name])
                sums[name] += (rows * rows).mean(0)
        found.update({name: (total / len(chunks)).astype(np.float32) for name, total in sums.items()})
    return found


def hessians(
    model: onnx.ModelProto, folder: Path, widths: Mapping[str, int], chunks: list[Array]
) -> Iterator[tuple[str, Array]]:
    """The sum of x xᵀ, float64 [K, K], of every named activation of width K, over the chunks.

    In the order of `widths`, as many at a time as GATHERED holds.
    """
    torch.set_num_threads(1)
    for names in _passes({name: 8 * width * width for name, width in widths.items()}):
        session = _session(model, folder, names)
        sums = {name: torch.zeros(widths[name], widths[name], dtype=torch.float64) for name in names}
        for chunk in chunks:
            values = _run(session, names, feeds(session, folder, chunk))
            for name, value in zip(names, values, strict=True):
                rows = torch.from_numpy(np.asarray(value, np.float32).reshape(-1, widths[name]))
                sums[name] += (rows.T @ rows).double()
        for name in names:
            yield name, sums.pop(name).numpy()


def _run(session: onnxruntime.InferenceSession, names: list[str], given: dict[str, Any]) -> list[Any]:
    """The activations. ConvertError where the CPU does not compute what the model is made of for another device."""
    try:
        found: list[Any] = session.run(names, given)
    except Exception as error:
        raise ConvertError(
            "ONNX Runtime's CPU provider, which shows the activations to gptq and importance, cannot run this model: "
            f"{' '.join(str(error).split())[:400]}; use the algorithm mse, k_quant, hqq or rtn"
        ) from error
    return found


def _passes(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Names in order, as many at a time as GATHERED holds of these sizes."""
    names: list[str] = []
    held = 0
    for name, size in sizes.items():
        if names and held + size > GATHERED:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    if names:
        yield names


def _session(model: onnx.ModelProto, folder: Path, names: Iterable[str]) -> onnxruntime.InferenceSession:
    """The model with these activations as its outputs, and nothing computed that they do not need."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the order of a sum must not depend on the number of threads
    options.add_session_config_entry(_FOLDER, str(folder))
    # Fusions would remove the activations that are asked for.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])


def feeds(session: onnxruntime.InferenceSession, folder: Path, ids: Array) -> dict[str, Any]:
    """The inputs for a whole text [1, n] and an empty cache."""
    head_size = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]["head_size"]
    length = ids.shape[1]
    found: dict[str, Any] = {}
    for item in session.get_inputs():
        if item.name == "input_ids":
            found[item.name] = ids
        elif item.name == "attention_mask":
            found[item.name] = np.ones_like(ids)
        elif item.name == "position_ids":
            found[item.name] = np.arange(length, dtype=np.int64)[None]
        else:
            dtype = np.float16 if "float16" in item.type else np.float32
            heads = item.shape[1]
            found[item.name] = np.zeros((1, heads, 0, head_size), dtype)
    return found
