from pathlib import Path

import pytest

from modelmill_artifacts import tree
from modelmill_artifacts.manifest import Flags, HardwareProfile, Manifest, SourceLock, Step, Tool


def sample_manifest(folder: Path, target: str = "raspberry-pi-5") -> Manifest:
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
            profile=target, requires={"cpu.arch": "aarch64", "cpu.features": ["neon", "dotprod"], "memory.bytes": 4}
        ),
        files=tree.files(folder),
        sources=(
            SourceLock(
                name="base",
                role="model",
                uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct",
                revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
                licence="Apache-2.0",
                files=tree.files(folder)[:1],
            ),
        ),
        steps=(
            Step(
                key="a" * 64,
                name="huggingface-to-gguf",
                plugin="modelmill",
                plugin_version="0.1.0",
                scheme="F16",
                options={"split": None, "order": ["a", "b"]},
                tools=(Tool(name="gguf", version="0.19.0"), Tool(name="numpy", version="2.5.1")),
            ),
        ),
        flags=Flags(),
        usage="llama-cli -m {file}",
    )


@pytest.fixture
def runtime_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "raspberry-pi-5"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model-Q4_K_M.gguf").write_bytes(bytes(range(256)) * 40)
    (folder / "tokenizer" / "tokenizer.json").write_bytes(b'{"groesse": 1}\n')
    (folder / "LICENSE").write_text("Apache License\n")
    return folder


@pytest.fixture
def manifest(runtime_folder: Path) -> Manifest:
    return sample_manifest(runtime_folder)
