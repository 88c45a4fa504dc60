"""What a GGUF file says of the checkpoint's own origin."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gguf_conversions import convert, outlook, predicted, reference
from gguf_parts import ours
from source_parts.hub import COMMIT, Hub, serving

from modelmill import Facts, Job, Limits, Lineage, Outlook
from modelmill.checkpoint import facts
from modelmill.testing import make_checkpoint
from modelmill_gguf import offers
from modelmill_gguf.fields import value
from modelmill_gguf.fused_record import FUSED, FusedOptions
from modelmill_gguf.header import read_header
from modelmill_gguf.options import ConvertOptions

REVISION = "0123456789abcdef0123456789abcdef01234567"
RICH_CARD = """---
license: other
license_name: tiny-community
license_link: https://example.com/LICENSE
language:
- en
- de
tags: [chat, small-models]
pipeline_tag: text-generation
library_name: transformers
author: Some Body
model_creator: Another Body
version: "1.5"
description: A model that says nothing.
organization: Tiny Makers
base_model:
- mistralai/Mistral-7B-v0.1
- https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
- http://huggingface.co/gpt2/small
- https://example.com/models/base
- some model
- gpt2
datasets:
- HuggingFaceTB/smoltalk
- wikitext
- https://huggingface.co/datasets/allenai/c4
metrics:
- accuracy
---
# A model
"""
GENERATION = {
    "do_sample": True,
    "max_new_tokens": 100,
    "min_p": 0.05,
    "repetition_penalty": 1.05,
    "temperature": 0.6,
    "top_k": 20,
    "top_p": 0.95,
}
CARD = "---\nlicense: apache-2.0\nbase_model: Team/Base-Model\n---\n# A model\n"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = make_checkpoint(tmp_path / "checkpoint", "llama")
    (folder / "README.md").write_text(CARD)
    return folder


def made(source: Path, out: Path, lineage: Lineage | None) -> Path:
    out.mkdir()
    limits = Limits(scratch=out.with_name(f"{out.name}-scratch"))
    offers.FROM_HUGGINGFACE.run(
        Job(
            source=source,
            inputs={},
            out=out,
            scheme="BF16",
            options=ConvertOptions(),
            hardware=None,
            limits=limits,
            lineage=lineage,
        )
    )
    return out / "model.gguf"


def source_keys(path: Path) -> dict[str, str]:
    fields = read_header(path).fields
    return {key: value(field) for key, field in fields.items() if key.startswith("general.source.")}


@pytest.mark.parametrize(
    ("uri", "url", "repository"),
    [
        ("hf://Team/Model", f"https://huggingface.co/Team/Model/tree/{REVISION}", "https://huggingface.co/Team/Model"),
        ("hf://Team/Model@main#*.safetensors", f"https://huggingface.co/Team/Model/tree/{REVISION}", None),
        ("https://me:secret@files.example/model.zip?token=secret#x", "https://files.example/model.zip", ""),
        ("pypi:model==1.0#model.gguf", "", ""),
    ],
)
def test_the_revision_and_where_it_was_fetched_are_in_the_file(
    tmp_path: Path, checkpoint: Path, uri: str, url: str, repository: str | None
) -> None:
    lineage = Lineage(uri=uri, revision=REVISION)
    file = made(checkpoint, tmp_path / "out", lineage)
    repository = "https://huggingface.co/Team/Model" if repository is None else repository
    expected = {
        "general.source.url": url,
        "general.source.revision": REVISION,
        "general.source.repo_url": repository,
    }
    assert source_keys(file) == {key: text for key, text in expected.items() if text}
    foretold = offers.FROM_HUGGINGFACE.infer(replace(outlook(checkpoint, "BF16", ConvertOptions()), lineage=lineage))
    assert isinstance(foretold, Facts)
    assert dict(foretold.files) == {"model.gguf": file.stat().st_size}


def test_licence_and_base_model_are_the_cards(tmp_path: Path, checkpoint: Path) -> None:
    fields = read_header(convert(checkpoint, tmp_path / "out", "BF16") / "model.gguf").fields
    assert value(fields["general.license"]) == "apache-2.0"
    assert value(fields["general.base_model.0.repo_url"]) == "https://huggingface.co/Team/Base-Model"
    assert predicted(checkpoint).licence == "Apache-2.0"


def test_a_rich_card_becomes_what_llama_cpps_script_makes_of_it(tmp_path: Path, llama_cpp_sdist: Path) -> None:
    source = make_checkpoint(tmp_path / "checkpoint", "llama")
    (source / "README.md").write_text(RICH_CARD)
    (source / "generation_config.json").write_text(json.dumps(GENERATION))
    file = convert(source, tmp_path / "out", "BF16") / "model.gguf"
    reference(llama_cpp_sdist, [(source, tmp_path / "theirs.gguf", "BF16", "smollm")])
    ours, theirs = (
        [(field.key, value(field)) for field in read_header(path).fields.values() if field.key.startswith("general.")]
        for path in (file, tmp_path / "theirs.gguf")
    )
    # The name is that of the folder, and the version a guess from the base model's name.
    guessed = {"general.name", "general.base_model.0.version"}
    assert ours == [item for item in theirs if item[0] not in guessed]
    assert guessed <= dict(theirs).keys()


def test_a_sampling_value_beyond_single_precision_is_left_out(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "checkpoint", "llama")
    (source / "generation_config.json").write_text('{"temperature": 1e300, "top_p": 0.5, "min_p": -1e39, "top_k": 7}')
    fields = read_header(convert(source, tmp_path / "out", "BF16") / "model.gguf").fields
    found = {key: value(field) for key, field in fields.items() if key.startswith("general.sampling.")}
    assert found == {"general.sampling.top_p": 0.5, "general.sampling.top_k": 7}
    assert dict(predicted(source).files) == {"model.gguf": (tmp_path / "out" / "model.gguf").stat().st_size}


def test_the_fused_way_says_the_same(tmp_path: Path, checkpoint: Path) -> None:
    lineage = Lineage(uri="hf://Team/Model", revision=REVISION)
    made(checkpoint, tmp_path / "converted", lineage)
    chain = ours.quantize(tmp_path / "converted", tmp_path / "chain", "Q4_0")
    (tmp_path / "fused").mkdir()
    FUSED.run(
        Job(
            source=checkpoint,
            inputs={},
            out=tmp_path / "fused",
            scheme="Q4_0",
            options=FusedOptions(),
            hardware=None,
            limits=Limits(scratch=tmp_path / "notes"),
            lineage=lineage,
        )
    )
    assert (tmp_path / "fused/model.gguf").read_bytes() == chain.read_bytes()
    foretold = FUSED.infer(Outlook(facts=facts(checkpoint), scheme="Q4_0", options=FusedOptions(), lineage=lineage))
    assert isinstance(foretold, Facts)
    assert dict(foretold.files) == {"model.gguf": chain.stat().st_size}


BUILD = """
[project]
name = "tiny"
version = "1"
license = "MIT"
[source.hub]
uri = "hf://team/model"
[source.here]
uri = "checkpoint"
[defaults]
hardware = "raspberry-pi-5"
format = "gguf"
scheme = "Q8_0"
[target.from-hub]
source = "hub"
[target.from-here]
source = "here"
[sign]
mode = "none"
"""


def test_a_build_writes_the_revision_that_is_locked_but_none_of_a_folder_of_ones_own(
    tmp_path: Path, checkpoint: Path
) -> None:
    files = {path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())}
    (tmp_path / "build.toml").write_text(BUILD)

    def modelmill(*words: str) -> str:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf-home"),
            "MODELMILL_STORE": str(tmp_path / "store"),
        }
        command = [sys.executable, "-m", "modelmill", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, env=environment, capture_output=True, text=True).stdout

    with serving(Hub(files=files)) as hub:
        modelmill("build")
        hub.commit = "2" * 40  # the same files
        modelmill("lock", "--update", "hub")
        told = modelmill("explain")
    found = tmp_path / "dist" / "tiny" / "1"
    assert source_keys(found / "from-hub" / "tiny-Q8_0.gguf")["general.source.revision"] == COMMIT
    assert source_keys(found / "from-here" / "tiny-Q8_0.gguf") == {}
    assert f"the locked source's revision changed: {COMMIT} → {'2' * 40}" in told
    assert told.count("the locked source's") == 1
