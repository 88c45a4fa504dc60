"""What an ONNX folder is: a graph, its weights, and what ONNX Runtime GenAI wants beside them."""

import json
from collections import Counter
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, Final

from modelmill import ConvertError, Facts
from modelmill_onnx.graph import Graph, Weight, read_graph
from modelmill_onnx.sizes import count_graphs
from modelmill_onnx.tensors import stored_tensors

SCHEMES: Final = ("fp32", "fp16", "int8", "int4", "int4-builder")
BUILDER: Final = "onnxruntime-genai"
"""What the model builder writes as a graph's producer; onnx-quantize writes its own name over it."""
GENAI: Final = "genai_config.json"
_JSON_LIMIT: Final = 128 * 1024**2
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model")
_BY_DTYPE: Final = {"FLOAT": "fp32", "FLOAT16": "fp16"}
_QUANTIZED: Final = ("MatMulNBits", "GatherBlockQuantized")


def detect(folder: Path) -> bool:
    """Whether the folder holds an ONNX model."""
    return any(folder.glob("*.onnx"))


def facts(folder: Path) -> Facts:
    """What is known of an ONNX model from its graph. ConvertError where that is not sound."""
    graphs = {path.name: read_graph(path) for path in _models(folder)}
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    scheme = _scheme(graphs)
    config = _genai_config(folder)
    return Facts(
        format="onnx",
        scheme=scheme,
        architecture=_architecture(folder, config),
        tensors=tuple(stored.tensor for graph in graphs.values() for stored in stored_tensors(graph)),
        files=sizes,
        quantization=scheme if scheme and scheme.startswith("int") else None,
        details={
            "onnx": count_graphs(graphs.values(), beside=sum(sizes.values()) - max(sizes.values())),
            "genai": config is not None,
        },
    )


def _architecture(folder: Path, genai: dict[str, Any] | None) -> str | None:
    """The model's type by genai_config.json; for a folder without one, its class by config.json."""
    if genai is None:
        path = folder / "config.json"
        names = _read_json(path).get("architectures") if path.is_file() else None
        name = names[0] if isinstance(names, list) and names else None
    else:
        model = genai.get("model", {})
        name = model.get("type") if isinstance(model, dict) else None
    return name if isinstance(name, str) else None


def _models(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.onnx"))
    if not paths:
        raise ConvertError("there is no .onnx file here")
    return paths


def _scheme(graphs: dict[str, Graph]) -> str | None:
    """int4 or int8 by most of the quantized operators and by who made them, else the dtype of most values."""
    operators = [item for graph in graphs.values() for item in graph.operators if item.type in _QUANTIZED]
    bits = Counter(operator.integers.get("bits", 4) for operator in operators)
    if bits:
        most = max(sorted(bits), key=lambda number: bits[number])
        by_builder = any(graph.producer == BUILDER for graph in graphs.values())
        name = f"int{most}-builder" if by_builder else f"int{most}"
        return name if name in SCHEMES else None
    stored = [item for graph in graphs.values() for item in stored_tensors(graph)]
    if any(item.kind == "dynamic" for item in stored):
        return "int8"
    sizes: Counter[str] = Counter()
    for weight in (weight for graph in graphs.values() for weight in graph.weights):
        sizes[weight.dtype] += prod(weight.shape)
    return _BY_DTYPE.get(max(sorted(sizes), key=lambda name: sizes[name], default=""))


def validate(folder: Path) -> None:
    """ConvertError, naming file and name, for a folder that ONNX Runtime or ONNX Runtime GenAI would not load."""
    from modelmill_onnx.checker import check_opens

    for name in check_structure(folder):
        check_opens(folder / name)


def check_structure(folder: Path) -> tuple[str, ...]:
    """The names of the graphs' files, once all that they and genai_config.json refer to is there. ConvertError."""
    graphs = {path.name: read_graph(path) for path in _models(folder)}
    for name, graph in graphs.items():
        for weight in graph.weights:
            _check_place(folder, name, weight)
    for path in sorted(folder.glob("*.json")):
        _parsed(path)
    config = _genai_config(folder)
    if config is not None:
        _check_genai(folder, config, graphs)
    return tuple(graphs)


def _check_place(folder: Path, model: str, weight: Weight) -> None:
    """A reference to bytes outside must stay in the folder, and inside its file."""
    if weight.location is None:
        return
    place = f"{model}: the weight {weight.name!r}"
    path = PurePosixPath(weight.location)
    parts = weight.location.replace("\\", "/").split("/")
    if not weight.location or path.is_absolute() or ".." in parts or ":" in parts[0] or "\\" in weight.location:
        raise ConvertError(f"{place} lies in {weight.location!r}, outside the model's folder; it is not loaded")
    file = folder / path
    if any(item.is_symlink() for item in (file, *file.parents) if folder in item.parents):
        raise ConvertError(f"{place} lies in {weight.location!r}, which is a link; put the file itself there")
    if not file.is_file():
        raise ConvertError(f"{place} lies in {weight.location!r}, which is not in the folder")
    size = file.stat().st_size
    length = size - weight.offset if weight.length is None else weight.length
    if length < 0 or weight.offset + length > size:
        end = weight.offset + max(length, 0)
        raise ConvertError(f"{place} ends at byte {end:,} of {weight.location}, which has {size:,}")


def _genai_config(folder: Path) -> dict[str, Any] | None:
    path = folder / GENAI
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    content = _parsed(path)
    if not isinstance(content, dict):
        raise ConvertError(f"{path.name}: holds {type(content).__name__}, not an object")
    return content


def _parsed(path: Path) -> Any:
    size = path.stat().st_size
    if size > _JSON_LIMIT:
        raise ConvertError(f"{path.name}: {size:,} bytes are more than the {_JSON_LIMIT:,} that are read of it")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{path.name}: is not JSON: {error}") from None


def _check_genai(folder: Path, config: dict[str, Any], graphs: dict[str, Graph]) -> None:
    """genai_config.json names only what exists: the file, the graph's inputs and outputs, a tokenizer."""
    try:
        decoder = config["model"]["decoder"]
        file, layers = decoder["filename"], decoder["num_hidden_layers"]
        names = {"input": dict(decoder["inputs"]), "output": dict(decoder["outputs"])}
        whole = isinstance(layers, int) and all(
            isinstance(name, str) for items in names.values() for name in items.values()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConvertError(f"{GENAI}: model.decoder is not whole: {error!s} is missing or of another kind") from None
    if not whole:
        raise ConvertError(f"{GENAI}: model.decoder is not whole: a name or a number is of another kind")
    if not isinstance(file, str) or file not in graphs:
        raise ConvertError(f"{GENAI}: decoder.filename is {file!r}, which is not in the folder")
    there = {"input": set(graphs[file].inputs), "output": set(graphs[file].outputs)}
    for kind, items in names.items():
        for key, pattern in items.items():
            wanted = [pattern.replace("%d", str(at)) for at in range(layers)] if "%d" in pattern else [pattern]
            for name in wanted:
                if name not in there[kind]:
                    raise ConvertError(f"{GENAI}: decoder.{kind}s.{key} is {name!r}, and {file} has no such {kind}")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ConvertError(f"there is no {' and no '.join(_TOKENIZERS)}, without which ONNX Runtime GenAI cannot run")
