from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelmill_artifacts import tree
from modelmill_artifacts.evidence import Builder, Evidence, Package
from modelmill_artifacts.manifest import File, Flags, HardwareProfile, Manifest, SourceLock, Step, Tool
from modelmill_artifacts.package import describe, publish_index
from modelmill_artifacts.policy import Policy
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner

TARGETS = ("laptop-onnx", "raspberry-pi-5")
FIXED_KEY = Path(__file__).parent / "golden" / "key.pem"


def _sources() -> tuple[SourceLock, ...]:
    base = SourceLock(
        name="base",
        role="model",
        uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        licence="Apache-2.0",
        files=(
            File(path="config.json", sha256="1" * 64, size=861),
            File(path="model.safetensors", sha256="2" * 64, size=269_060_552),
        ),
    )
    text = SourceLock(
        name="calibration-text",
        role="calibration",
        uri="path:calibration",
        revision="sha256-" + "3" * 64,
        licence=None,
        files=(File(path="calibration.txt", sha256="3" * 64, size=12),),
    )
    return base, text


def _facts(target: str) -> Manifest:
    gguf = Tool(name="gguf", version="0.19.0")
    step = Step(
        key="a" * 64,
        name="huggingface-to-gguf",
        plugin="modelmill",
        plugin_version="0.1.0",
        scheme="F16",
        options={"split": None, "order": ["a", "b"]},
        tools=(gguf, Tool(name="numpy", version="2.5.1")),
    )
    return Manifest(
        name="smollm2-135m-instruct",
        version="1.0.0",
        target=target,
        format="gguf",
        scheme="Q4_K_M",
        architecture="llama",
        parameters=134_515_008,
        bits_per_weight=4.9,
        licence="Apache-2.0",
        hardware=HardwareProfile(
            profile=target, requires={"os.family": "linux", "os.arch": "arm64", "cpu.features": ["asimd", "asimddp"]}
        ),
        files=(),
        sources=_sources(),
        steps=(step, replace(step, key="b" * 64, name="gguf-quantize", scheme="Q4_K_M", tools=(gguf,))),
        flags=Flags(),
        usage="llama-cli -m {file}",
    )


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    return Evidence(
        target={"hardware": "raspberry-pi-5", "format": "gguf", "scheme": "Q4_K_M"},
        builders=(Builder(name="modelmill", distribution="modelmill", version="0.1.0", sha256="c" * 64),),
        packages=(
            Package(name="gguf", version="0.19.0", licence="MIT", requires=("numpy", "PyYAML", "absent")),
            Package(name="numpy", version="2.5.1", licence="BSD-3-Clause AND 0BSD AND MIT", sha256="d" * 64),
            Package(name="PyYAML", version="6.0.3", licence="MIT License"),
            Package(name="nameless", version="1+local", licence=None),
        ),
        model_class="LlamaForCausalLM",
    )


def write_runtime(folder: Path, fill: bytes = b"") -> None:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model-Q4_K_M.gguf").write_bytes(fill + bytes(range(256)) * 40)
    (folder / "tokenizer" / "tokenizer.json").write_bytes(b'{"version": 1}\n')
    (folder / "LICENSE").write_text("Apache License\n")


@pytest.fixture
def runtime_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "1.0.0" / "raspberry-pi-5"
    write_runtime(folder)
    return folder


@pytest.fixture
def facts() -> Manifest:
    return _facts("raspberry-pi-5")


@pytest.fixture
def manifest(runtime_folder: Path, facts: Manifest) -> Manifest:
    return replace(facts, files=tree.files(runtime_folder))


@pytest.fixture(scope="session")
def signer() -> PemSigner:
    """A key that is in the repository so that signatures can be golden: good for tests, and for nothing else."""
    return pem.load(FIXED_KEY.read_bytes(), "golden/key.pem")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> PemSigner:
    path = tmp_path_factory.mktemp("stranger") / "key.pem"
    create.new(path)
    return pem.open_file(path)


@pytest.fixture
def policy(signer: PemSigner) -> Policy:
    return Policy(keys=(signer.public_key,))


@pytest.fixture
def artifact(runtime_folder: Path, facts: Manifest, evidence: Evidence, signer: PemSigner) -> Path:
    describe(runtime_folder, facts, evidence, signer)
    return runtime_folder


ReleaseMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def make_release(evidence: Evidence) -> ReleaseMaker:
    def make(folder: Path, signer: PemSigner, version: str = "1.0.0", fill: bytes = b"") -> Path:
        for target in TARGETS:
            write_runtime(folder / target, fill + target.encode())
            describe(folder / target, replace(_facts(target), version=version), evidence, signer)
        publish_index(folder, TARGETS, signer)
        return folder

    return make
