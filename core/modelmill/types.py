"""The values that cross between the engine and its plugins: frozen, and plain data."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from modelmill_artifacts.keys import PublicKey
from modelmill_artifacts.signature import Signer

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model as its file's header describes it.

    `dtype` is the format's own word (`BF16` in safetensors, `Q4_K` in GGUF). `shape` is row-major, outermost
    dimension first, in every format (GGUF files list it the other way round).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a model (or of another input) without its weights; plain data that survives JSON.

    Facts are read from headers for a source and predicted by `infer` for a step that has not run yet.
    `config` is the model's own configuration: config.json's content for `huggingface`, and for every format
    that a converter derives from it, that same content, so that later steps can predict from it.
    `quantization` names the last lossy scheme that the values went through, also after they were widened again.
    `details` is for what a format's own steps tell each other, under keys such as `tokenizer`.
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
class Refusal:
    """Why a step cannot do what is asked, and what would work: one sentence, shown to a person at plan time."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a step will take: bytes that it writes, bytes of memory at its peak, seconds on one core."""

    bytes_out: int
    peak_memory: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a step may use. None of it may influence a byte of the result; the conformance kit proves it."""

    threads: int = 1
    memory: int | None = None
    scratch: Path = Path("/nonexistent")
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The fields of a hardware profile, by dotted name (`cpu.features`), values as the TOML has them.

    A step sees only the fields that its record names in `uses_hardware`, so that editing another field
    rebuilds nothing.
    """

    fields: Mapping[str, Any]

    def only(self, names: Iterable[str]) -> "Hardware":
        """The same profile with no other fields than these."""
        return Hardware(fields={name: self.fields[name] for name in names if name in self.fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a model came from, as build.lock has it: the source's URI, and the exact revision that it stands for."""

    uri: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[Options]):
    """All that may influence the bytes of one step, and nothing else."""

    source: Path
    """The input model's folder, read-only; only the files that the record's `reads` match are there."""
    inputs: Mapping[str, Path]
    """Further named inputs, each a folder like `source`."""
    out: Path
    """An empty folder; what is left here is the result."""
    scheme: str
    """One of the record's schemes."""
    options: Options
    hardware: Hardware | None
    limits: Limits
    lineage: Lineage | None = None
    """Only for a record that `uses_lineage`, and only of a source that is the same for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook(Generic[Options]):
    """All that is known of a step before it runs; what `infer` and `estimate` are given.

    `scheme` is None where a later step needs this step's format but no particular scheme: `infer` then
    chooses the one that loses nothing, and says so in the facts that it returns.
    """

    facts: Facts
    scheme: str | None
    options: Options
    inputs: Mapping[str, Facts] = field(default_factory=dict)
    hardware: Hardware | None = None
    lineage: Lineage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A further input that a step takes beside its source: an importance matrix, a calibration text, an adapter.

    A required one that the target does not name is made of the step's own source, where a converter without
    inputs makes this format of it: what must be measured in weights before a step may run is such a converter.
    """

    format: str
    required: bool = False
    reads: tuple[str, ...] = ("**",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Tools that must not share an environment with the engine's: the step runs in a virtual environment of its own.

    `name` (small letters, digits, dashes) is what build.lock and people call it; records that name the same one
    share its environment. `requires` are requirements as pip takes them (PEP 508: names, extras, versions, markers;
    no URLs). What they resolved to is pinned in build.lock: every distribution, by version and digest of its wheel.
    """

    name: str
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker(Generic[Options]):
    """What converters and quantizers have in common. Not offered by itself.

    `run` does the work in a child process and raises ConvertError for bad input. `infer` and `estimate` are
    pure, fast, need no tool, and run in the engine at plan time. `reads` are patterns (`fnmatch`, and `**`
    for every file) of the source's files that the step sees. `tools` are the distributions that make the
    bytes; they and all that they need enter the key. `requirement` is what to install where one is missing,
    such as `modelmill[gguf]`. A record with a `toolchain` names no `tools`: its tools are all that the toolchain
    resolved to. Raise `revision` when the same job gives other bytes than before. A record that `uses_lineage`
    writes into its result where the model came from, and makes it anew for every revision of the source.
    `replaces` names the chain of records whose work a fused record does in one go, byte for byte.
    """

    name: str
    schemes: tuple[str, ...]
    options: type[Options]
    run: Callable[[Job[Options]], None]
    infer: Callable[[Outlook[Options]], Facts | Refusal]
    estimate: Callable[[Outlook[Options], Facts], Estimate]
    revision: int = 1
    reads: tuple[str, ...] = ("**",)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    requirement: str = ""
    toolchain: Toolchain | None = None
    uses_hardware: tuple[str, ...] = ()
    uses_lineage: bool = False
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter(Maker[Options]):
    """Files of one format → files of another."""

    takes: str
    gives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer(Maker[Options]):
    """A model → the same model in the same format, smaller."""

    format: str

    @property
    def takes(self) -> str:
        """The format that it reads."""
        return self.format

    @property
    def gives(self) -> str:
        """The format that it writes."""
        return self.format


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
    one shell command that runs an artifact, with `{path}` for its folder and `{file}` for its first file.
    `pickles` says that its weights are Python pickles: only a source that allows them is asked whether it is one.
    """

    name: str
    schemes: tuple[str, ...]
    detect: Callable[[Path], bool]
    facts: Callable[[Path], Facts]
    validate: Callable[[Path], None]
    tensors: Callable[[Path], Iterator[TensorData]] | None = None
    artifact_path: Callable[[str, str, str], str] = lambda path, name, scheme: path  # noqa: ARG005
    usage: str = ""
    pickles: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that a source offers: its path in the checkpoint, its size, and its digest where it is known."""

    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a URI stands for now: an exact revision, and its files.

    `root` is the folder that holds the files where they lie on this machine already and are to be used in place.
    `mixed` says that they may be more than one model's, or in more than one framework's format: where build.toml
    does not `include` some of them, the engine then takes one checkpoint's own.
    """

    revision: str
    files: tuple[SourceFile, ...]
    root: Path | None = None
    mixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A source as build.toml names it: what follows the URI's scheme, a revision, and the folder it is relative to."""

    uri: str
    revision: str | None
    base: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of a file from `start` on, read from front to back; `read(n)` gives at most n, and none at the end."""

    read: Callable[[int], bytes]
    close: Callable[[], None]
    start: int = 0


Opener = Callable[[SourceFile, int], Stream]
"""Opens a file to be read from a place on, or from its front where that cannot be; `Stream.start` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A way to reach checkpoints, picked by the URI's scheme.

    `resolve(location, scratch)` says what there is; it may use the network and an empty scratch folder.
    `connect(location, scratch)` is entered before files of the resolved revision, which `location.revision` then
    holds, are fetched, and gives an opener, which is called by several threads at once; it finds in `scratch`
    what `resolve` left there, if that ran just before. The engine does the rest: files at once, tries, resumption,
    digests. All raise SourceError, or TransientError for what may work in a moment; an OSError while a stream is
    read is a cut connection. A `local` source is used where it lies (`Resolution.root`) and looked at in every
    build; any other is resolved once, and the lock then stands for it.
    """

    name: str
    local: bool = False
    resolve: Callable[[Location, Path], Resolution]
    connect: Callable[[Location, Path], AbstractContextManager[Opener]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """A hardware profile that a plugin offers: its name and its TOML text, validated when it is loaded."""

    name: str
    toml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageJob(Generic[Options]):
    """One finished artifact to package; nothing here is cached, so nothing here is in a key.

    `artifact` is the target's folder in a finished release, read-only, its `artifact.json` already checked.
    `out` is an empty folder: what is left there is the package. `hardware` is the target's whole profile. `root`
    is the folder that paths in the options are relative to: build.toml's. `memory` is the bytes that the artifact
    needs to run on its hardware (weights, KV cache, overhead), None where that is not known.
    """

    artifact: Path
    out: Path
    options: Options
    hardware: Hardware | None = None
    root: Path = Path()
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packager(Generic[Options]):
    """Artifact → a form that a deployment system takes.

    `formats` are the artifact formats that it packages; none means any. `verb` is the command that offers it:
    `package`, or `deploy` where the form is files for an orchestrator. `table` is the table of build.toml
    that fills the options. `package` writes, and raises ConvertError for what cannot be packaged. `load` puts
    a package (the folder that `package` left) into a local engine and returns the name that it has there.
    """

    name: str
    formats: tuple[str, ...]
    options: type[Options]
    package: Callable[[PackageJob[Options]], None]
    load: Callable[[Path], str] | None = None
    verb: str = "package"
    table: str = ""
    requirement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication(Generic[Options]):
    """A finished release to publish, and where to.

    `release` is `dist/<name>/<version>`, already verified. `reference` is what follows the URI's scheme.
    `sign` turns the bytes of an in-toto statement into a signed bundle; None publishes unsigned. `report` is
    told, in one line each, what happens. `root` is the folder that paths in the options are relative to: build.toml's.
    """

    release: Path
    reference: str
    options: Options
    root: Path = Path()
    sign: Callable[[bytes], bytes] | None = None
    report: Callable[[str], None] = lambda line: None  # noqa: ARG005


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publication came to: the immutable reference, and the bytes that moved or were there already."""

    reference: str
    digest: str
    bytes_moved: int
    bytes_skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullJob(Generic[Options]):
    """A published release to fetch an artifact of.

    `target` or `profile` names what to take; with neither, `hardware` (this machine, in a profile's fields)
    decides, and is there. `output` does not exist yet and appears whole or not at all. `scratch` outlives a failed pull,
    so that the next one resumes. `verify(folder, target)` raises for a release folder (index, signatures and
    that one target) that is not to be trusted; it is called before `output` appears.
    """

    reference: str
    output: Path
    scratch: Path
    options: Options
    verify: Callable[[Path, str], None]
    target: str | None = None
    profile: str | None = None
    hardware: Hardware | None = None
    report: Callable[[str], None] = lambda line: None  # noqa: ARG005


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull came to: the target that was chosen, why, and the digest of what was pulled."""

    target: str
    reason: str
    digest: str
    bytes_moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote(Generic[Options]):
    """Where releases are published to and pulled from, picked by the URI's scheme. Both raise RemoteError.

    `tables` are the tables of build.toml that fill the options' fields of the same names, when a release is published.
    """

    scheme: str
    options: type[Options]
    publish: Callable[[Publication[Options]], Published]
    pull: Callable[[PullJob[Options]], Pulled]
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerOffer:
    """A way to sign, picked by the scheme of `[sign] key`'s URI.

    `open(key, base)` takes what follows `scheme:` and the folder that a relative path in it starts from, and
    gives a signer. `create(key, base, password)` makes a new key there, where this kind of key can be made
    here. `files(key, base)` are the files that a key follows from, where it follows from files alone. They and
    the signer raise SignError. `requirement` is what to install where a part of it is missing,
    such as `modelmill[kms]`.
    """

    scheme: str
    open: Callable[[str, Path], Signer]
    create: Callable[[str, Path, str | None], PublicKey] | None = None
    files: Callable[[str, Path], tuple[Path, ...]] | None = None
    requirement: str = ""
