"""The format `torch` and the converter `torch-to-huggingface`: checkpoints whose only weights are pickles.

A pickle can run any code when it is loaded: only a source that says `pickle = "weights-only"` is taken as one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmill import Converter, ConvertError, Estimate, Facts, Format, Job, Outlook, Refusal, Tensor
from modelmill.checkpoint import facts, read_object, safetensors_size
from modelmill_huggingface import carry
from modelmill_huggingface.torch_file import View, read_torch_file, tensor

SCHEMES = ("F32", "F16", "BF16")
SINGLE = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"
WEIGHTS = "pytorch_model*.bin"
READS = (*(pattern for pattern in carry.READS if "safetensors" not in pattern), WEIGHTS, INDEX)
OUTPUT = "model.safetensors"
_HEAD = "lm_head.weight"
_EMBEDDING = "embed_tokens.weight"
_MEMORY = 260_000_000  # Python and torch
_BYTES_PER_SECOND = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchToHuggingface:
    """There is nothing to choose."""


def detect(folder: Path) -> bool:
    """Whether a folder is a checkpoint whose only weights are torch files."""
    has_safetensors = next(iter(folder.glob("model*.safetensors")), None) is not None
    return (folder / "config.json").is_file() and not has_safetensors and bool(weight_files(folder))


def weight_files(folder: Path) -> list[Path]:
    """The torch files of a checkpoint."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    return sorted(path for path in folder.glob(WEIGHTS) if path.is_file())


def read_views(folder: Path) -> dict[str, tuple[Path, View]]:
    """Every tensor by name, and the file that holds it. ConvertError where files disagree, or hold anything else."""
    found: dict[str, tuple[Path, View]] = {}
    for path in weight_files(folder):
        for name, view in read_torch_file(path).items():
            if name in found:
                raise ConvertError(f"{path.name}: tensor {name!r} is in {found[name][0].name} too")
            found[name] = (path, view)
    if (folder / INDEX).is_file() and not (folder / SINGLE).is_file():
        listed = read_object(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict) or listed != {name: path.name for name, (path, _) in found.items()}:
            raise ConvertError(f"{INDEX}: does not list the tensors that the files hold; fetch the checkpoint again")
    if not found:
        raise ConvertError(f"{SINGLE}: holds no tensors")
    return found


def left_out(views: Mapping[str, tuple[Path, View]], config: Mapping[str, Any]) -> list[str]:
    """The head, where it is the very embedding: safetensors hold no tensor twice, and transformers ties them."""
    if not config.get("tie_word_embeddings", False):
        return []
    embeddings = [at for name, at in views.items() if name.endswith(_EMBEDDING)]
    return [name for name, at in views.items() if name == _HEAD and at in embeddings]


def torch_facts(folder: Path) -> Facts:
    """What is known of the checkpoint without its weights, and without running its pickles."""
    views = read_views(folder)
    dropped = left_out(views, read_object(folder / "config.json"))
    tensors = tuple(tensor(name, view) for name, (_, view) in sorted(views.items()) if name not in dropped)
    found = facts(folder, tensors=tensors)
    return replace(found, format="torch", details={**found.details, "pickle": "weights-only"})


def _validate(folder: Path) -> None:
    torch_facts(folder)


def infer(outlook: Outlook[TorchToHuggingface]) -> Facts | Refusal:
    """The same tensors in one safetensors file."""
    base = outlook.facts
    if outlook.scheme not in (None, base.scheme) or base.scheme not in SCHEMES:
        return Refusal(reason=f"the torch files are {base.scheme}, and stay what they are: {', '.join(SCHEMES)}")
    files = {path: size for path, size in carry.sizes(base.files).items() if not path.endswith(".safetensors")}
    files[OUTPUT] = safetensors_size(base.tensors)
    return replace(base, format="huggingface", files=dict(sorted(files.items())))


def estimate(_: Outlook[TorchToHuggingface], found: Facts) -> Estimate:
    """Bytes from the facts; memory for torch and the files, which are mapped and read once."""
    size = sum(found.files.values())
    return Estimate(bytes_out=size, peak_memory=_MEMORY + size, seconds=3.0 + size / _BYTES_PER_SECOND)


def _run(job: Job[TorchToHuggingface]) -> None:
    from modelmill_huggingface import torch_run

    torch_run.run(job)


FORMAT = Format(name="torch", schemes=SCHEMES, detect=detect, facts=torch_facts, validate=_validate, pickles=True)
TORCH_TO_HUGGINGFACE = Converter(
    name="torch-to-huggingface",
    takes="torch",
    gives="huggingface",
    schemes=SCHEMES,
    options=TorchToHuggingface,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=READS,
    tools=("torch", "picklescan"),
    requirement="modelmill[pickle]",
)


def sorted_tensors(views: Mapping[str, tuple[Path, View]], dropped: list[str]) -> list[Tensor]:
    """The tensors that are kept, in the order in which they are written."""
    return [tensor(name, view) for name, (_, view) in sorted(views.items()) if name not in dropped]
