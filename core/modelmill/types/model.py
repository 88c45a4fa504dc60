"""What is known of a model, and who owns its format."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model as its file's header describes it.

    `dtype` is the format's own word (`BF16` in safetensors, `Q4_K` in GGUF). `shape` is row-major, outermost
    dimension first, in every format (GGUF files list it the other way round). `weight` is False where its values are
    no parameters of the model: nobody trained them, as a cache of sines, which is computed, or a constant of a graph.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    weight: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model (or of another input) without its weights; plain data that survives JSON.

    Facts are read from headers for a source and predicted by `infer` for a step that has not run yet.
    `config` is the model's own configuration: config.json's content for `huggingface`, and for every format
    that a converter derives from it, that same content, so that later steps can predict from it.
    `quantization` names the last lossy scheme that the values went through, also after they were widened again.
    `details` is for what a format's own steps tell each other, under keys such as `tokenizer`. Of an artifact's last
    step, `experimental` marks the artifact, and `notes`, a list of sentences, stand in its manifest and model card.
    `exceptions`, lists of names by the reason why, is what a step's result holds otherwise than its scheme says, such
    as weights whose rows no block divides: `modelmill plan` counts them, `modelmill explain` tells the reasons.
    """

    format: str
    scheme: str | None = None
    architecture: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    quantization: str | None = None
    licence: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorData:
    """One tensor with its bytes as the file has them, and a way to widen it to float32 values."""

    tensor: Tensor
    raw: memoryview
    values: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Who owns a format says what a folder is, what is in it, and whether it is sound.

    `detect`, `facts`, `validate` and `tensors` take the model's folder. `facts` and `validate` raise
    ConvertError for a folder that is not sound. `facts` reads headers only. `artifact_path` names a result's
    file in an artifact, given its path in the step's result, the project's name and the scheme. `usage` is
    one shell command that runs an artifact, with `{path}` for its folder and `{file}` for its first file of weights;
    or several, by the name of a file that an artifact has where its command is the right one, the first found counts.
    `pickles` says that its weights are Python pickles: only a source that allows them is asked whether it is one.
    `runtimes` load it, named as in hardware profiles: what a profile says of another runtime is not about this format.
    """

    name: str
    schemes: tuple[str, ...]
    detect: Callable[[Path], bool]
    facts: Callable[[Path], Facts]
    validate: Callable[[Path], None]
    tensors: Callable[[Path], Iterator[TensorData]] | None = None
    artifact_path: Callable[[str, str, str], str] = lambda path, name, scheme: path  # noqa: ARG005
    usage: str | Mapping[str, str] = ""
    pickles: bool = False
    runtimes: tuple[str, ...] = ()
