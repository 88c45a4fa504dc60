"""A small finished artifact, described as the engine describes one, for whoever packages artifacts."""

import hashlib
from pathlib import Path

from modelmill_artifacts.evidence import Builder, Evidence, Package
from modelmill_artifacts.manifest import HardwareProfile, Manifest, SourceLock, Step, Tool
from modelmill_artifacts.package import describe


def make_artifact(folder: Path, *, model_format: str = "gguf", scheme: str = "Q4_K_M", target: str = "laptop") -> Path:
    """Write an unsigned artifact into `folder` and return it: random weights, but a real manifest and a real SBOM."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"model.{model_format}").write_bytes(hashlib.shake_128(target.encode()).digest(10_000))
    (folder / "LICENSE").write_text("Apache License\n")
    step = Step(
        key="a" * 64,
        name="quantize",
        plugin="modelmill",
        plugin_version="0.1.0",
        scheme=scheme,
        options={},
        tools=(Tool(name="gguf", version="0.19.0"),),
    )
    source = SourceLock(name="base", role="model", uri="path:model", revision="b" * 64, licence="Apache-2.0", files=())
    described = Manifest(
        name="tiny",
        version="1.0.0",
        target=target,
        format=model_format,
        scheme=scheme,
        architecture="llama",
        parameters=20_000,
        bits_per_weight=4.0,
        licence="Apache-2.0",
        hardware=HardwareProfile(profile="x86-64-v3", requires={"os.family": "linux", "os.arch": "amd64"}),
        files=(),
        sources=(source,),
        steps=(step,),
    )
    made = Evidence(
        target={"format": model_format},
        builders=(Builder(name="modelmill", distribution="modelmill", version="0.1.0", sha256="c" * 64),),
        packages=(Package(name="gguf", version="0.19.0", licence="MIT"),),
        model_class="LlamaForCausalLM",
    )
    describe(folder, described, made, None)
    return folder
