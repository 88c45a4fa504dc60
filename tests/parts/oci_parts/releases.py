"""Finished releases to publish: real manifests, SBOMs and signatures over files of any size."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill_artifacts import release
from modelmill_artifacts.evidence import Builder, Evidence, Package
from modelmill_artifacts.manifest import File, HardwareProfile, Manifest, SourceLock, Step, Tool
from modelmill_artifacts.package import describe
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE
from modelmill_artifacts.signature import IN_TOTO, sign_statement
from modelmill_signers.pem import PemSigner

LINUX_ARM: Mapping[str, Any] = {
    "os.family": "linux",
    "os.arch": "arm64",
    "os.variant": "v8",
    "cpu.features": ["asimd", "asimddp"],
}
LINUX_X86: Mapping[str, Any] = {
    "os.family": "linux",
    "os.arch": "amd64",
    "os.variant": "v3",
    "cpu.features": ["avx2", "fma"],
}
MAC: Mapping[str, Any] = {"os.family": "macos", "os.arch": "arm64", "accelerator.kind": "metal"}

EVIDENCE = Evidence(
    target={"format": "gguf"},
    builders=(Builder(name="modelmill", distribution="modelmill", version="0.1.0", sha256="c" * 64),),
    packages=(Package(name="gguf", version="0.19.0", licence="MIT"),),
    model_class="LlamaForCausalLM",
)


def facts(target: str, requires: Mapping[str, Any], model_format: str, version: str) -> Manifest:
    source = SourceLock(
        name="base",
        role="model",
        uri="hf://HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        licence="Apache-2.0",
        files=(File(path="model.safetensors", sha256="2" * 64, size=269_060_552),),
    )
    step = Step(
        key="a" * 64,
        name="quantize",
        plugin="modelmill",
        plugin_version="0.1.0",
        scheme="Q4_K_M",
        options={},
        tools=(Tool(name="gguf", version="0.19.0"),),
    )
    return Manifest(
        name="smollm2-135m-instruct",
        version=version,
        target=target,
        format=model_format,
        scheme="Q4_K_M" if model_format == "gguf" else "int4",
        architecture="llama",
        parameters=134_515_008,
        bits_per_weight=4.9,
        licence="Apache-2.0",
        hardware=HardwareProfile(profile=target, requires=requires),
        files=(),
        sources=(source,),
        steps=(step,),
    )


def write_release(
    folder: Path,
    signer: PemSigner | None,
    *,
    size: int = 300_000,
    version: str = "1.0.0",
    weights: Mapping[str, Path] | None = None,
) -> Path:
    """A release of three targets, its weights pseudo-random bytes of `size` or the given files by target."""
    targets = {
        "raspberry-pi-5": (LINUX_ARM, "gguf", "model-Q4_K_M.gguf"),
        "laptop": (LINUX_X86, "gguf", "model-Q4_K_M.gguf"),
        "laptop-onnx": (LINUX_X86, "onnx", "model.onnx.data"),
    }
    chosen = {name: value for name, value in targets.items() if weights is None or name in weights}
    for name, (requires, model_format, file) in chosen.items():
        place = folder / name
        (place / "tokenizer").mkdir(parents=True)
        if weights:
            (place / file).hardlink_to(weights[name])
        else:
            seed = b"gguf" if model_format == "gguf" else name.encode()
            (place / file).write_bytes(hashlib.shake_128(seed + version.encode()).digest(size))
        if model_format == "onnx":
            (place / "model.onnx").write_bytes(b"onnx" * 100)
        (place / "tokenizer" / "tokenizer.json").write_bytes(b'{"version": 1}\n')
        (place / "LICENSE").write_text("Apache License\n")
        (place / "NOTICE").write_text("Apache License\n")
        described = facts(name, requires, model_format, version)
        describe(place, replace(described, hardware=HardwareProfile(profile=name, requires=requires)), EVIDENCE, signer)
    found = release.index(folder, chosen)
    data = release.dump(found)
    (folder / RELEASE).write_bytes(data)
    if signer is not None:
        signed = sign_statement(IN_TOTO, release.payload(found, data), signer)
        (folder / RELEASE_SIGNATURE).write_bytes(signed)
    return folder
