"""A target's adapter, chat template and generation config, from build.toml to the artifact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_parts import GENERATION, TEMPLATE, Mill, make_adapter

from modelmill.checkpoint import facts
from modelmill.testing import Shape, convert, make_checkpoint
from reference import llama

BUILD = """
[project]
name = "bot"
version = "1"
license = "MIT"

[source.base]
uri = "checkpoint"

[source.lora]
uri = "adapter"

[defaults]
source = "base"
hardware = "x86-64-v3"
format = "gguf"
scheme = "Q8_0"

[sign]
mode = "none"
"""
ALL = """
[target.all]
adapter = "lora"
chat_template = "prompts/Chat.jinja"
generation_config = "generation.json"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    base = make_checkpoint(tmp_path / "checkpoint", "llama", shape=Shape(hidden=256, intermediate=512, heads=8))
    make_adapter(tmp_path / "adapter", base)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/Chat.jinja").write_text(TEMPLATE)
    (tmp_path / "generation.json").write_text(GENERATION)
    return tmp_path


def mill(project: Path, targets: str, *arguments: str, general: str = BUILD) -> Any:
    return Mill(project).run(general + targets, *arguments)


def keys(project: Path, targets: str, general: str = BUILD) -> dict[str, list[str]]:
    """The steps' keys by the record's name."""
    found: dict[str, list[str]] = {}
    for step in mill(project, targets, "plan", "--json", general=general)["steps"]:
        found.setdefault(step["name"], []).append(step["key"])
    return found


def test_a_composed_model_is_what_its_runtime_loads(project: Path) -> None:
    plain = '[target.plain]\n[target.merged]\nadapter = "lora"\nformat = "huggingface"\nscheme = "BF16"\n'
    mill(project, plain + ALL, "build", "--json")
    release = project / "dist/bot/1"
    with llama.loaded(release / "all/bot-Q8_0.gguf") as model:
        metadata = model.metadata
    assert metadata["tokenizer.chat_template"] == TEMPLATE
    assert float(metadata["general.sampling.temp"]) == pytest.approx(0.25)
    direct = convert("modelmill_gguf", "huggingface-to-gguf", "F32", release / "merged", project / "f32")
    ids = list(range(4, 20))
    logits = [llama.logits(path, ids) for path in (release / "all/bot-Q8_0.gguf", direct / "model.gguf")]
    unmerged = llama.logits(release / "plain/bot-Q8_0.gguf", ids)
    assert np.abs(logits[0] - logits[1]).max() < 0.1 * np.abs(unmerged - logits[1]).max()
    assert facts(release / "merged").details["tokenizer"] == facts(project / "checkpoint").details["tokenizer"]


def test_a_given_template_takes_the_place_of_those_for_tool_use_too(project: Path) -> None:
    (project / "checkpoint/additional_chat_templates").mkdir()
    (project / "checkpoint/additional_chat_templates/tool_use.jinja").write_text("{{ tools }}")
    mill(project, '[target.own]\n[target.given]\nchat_template = "prompts/Chat.jinja"\n', "build", "--json")
    found = {}
    for target in ("own", "given"):
        with llama.loaded(project / f"dist/bot/1/{target}/bot-Q8_0.gguf") as model:
            found[target] = model.metadata
    assert found["own"]["tokenizer.chat_template.tool_use"] == "{{ tools }}"
    assert "tokenizer.chat_template.tool_use" not in found["given"]
    assert found["given"]["tokenizer.chat_template"] == TEMPLATE


def test_manifest_and_sbom_name_the_adapter_with_its_digests(project: Path) -> None:
    mill(project, ALL, "build", "--json")
    artifact = project / "dist/bot/1/all"
    manifest = json.loads((artifact / "artifact.json").read_text())
    assert [source["role"] for source in manifest["sources"]] == [
        "model", "adapter", "chat_template", "generation_config"
    ]  # fmt: skip
    assert [step["name"] for step in manifest["steps"]][:3] == [
        "merge-lora", "set-chat-template", "set-generation-config"
    ]  # fmt: skip
    sbom = json.loads((artifact / "sbom.cdx.json").read_text())
    ancestors = sbom["metadata"]["component"]["pedigree"]["ancestors"]
    assert [item["name"] for item in ancestors] == ["checkpoint", "adapter"]
    locked = (project / "build.lock").read_text()
    for item in ancestors:
        for file in item["components"]:
            assert file["hashes"][0]["content"] in locked
    assert "datasets" not in sbom["metadata"]["component"]["modelCard"]["modelParameters"]
    assert '[source."prompts-chat.jinja"]\nuri = "prompts/Chat.jinja"' in locked


def test_another_template_changes_only_the_keys_of_what_reads_it(project: Path) -> None:
    targets = '[target.plain]\n[target.merged]\nadapter = "lora"\n' + ALL
    before = keys(project, targets)
    (project / "prompts/Chat.jinja").write_text("{{ messages[0].content }}")
    after = keys(project, targets)
    assert after["merge-lora"] == before["merge-lora"]
    assert after["set-chat-template"] != before["set-chat-template"]
    unchanged = {key for found in before.values() for key in found} & {key for found in after.values() for key in found}
    assert len(before["huggingface-to-gguf"]) == 3
    assert len(unchanged & set(before["huggingface-to-gguf"])) == 2


def test_an_adapters_licence_and_its_file_are_the_artifacts_too(project: Path) -> None:
    (project / "checkpoint/LICENSE").write_text("one\n")
    (project / "adapter/LICENSE").write_text("another\n")
    licensed = BUILD.replace('uri = "adapter"', 'uri = "adapter"\nlicense = "CC-BY-4.0"')
    mill(project, '[target.plain]\n[target.merged]\nadapter = "lora"\n', "build", "--json", general=licensed)
    plain, merged = (project / "dist/bot/1" / target for target in ("plain", "merged"))
    assert [json.loads((made / "artifact.json").read_text())["licence"] for made in (plain, merged)] == [
        "MIT", "MIT AND CC-BY-4.0"
    ]  # fmt: skip
    assert (merged / "LICENSE").read_text() == "one\n"
    assert (merged / "LICENSE.lora").read_text() == "another\n"
    assert not (plain / "LICENSE.lora").exists()


def test_an_adapter_of_a_gguf_source_is_merged_on_the_way(project: Path) -> None:
    convert("modelmill_gguf", "huggingface-to-gguf", "BF16", project / "checkpoint", project / "gguf")
    found = keys(project, '[source.file]\nuri = "gguf"\n[target.all]\nsource = "file"\nadapter = "lora"\n')
    assert found.keys() == {"gguf-to-huggingface", "merge-lora", "huggingface-to-gguf", "gguf-quantize"}


def test_a_target_takes_back_what_the_defaults_put_in(project: Path) -> None:
    defaults = BUILD.replace("[defaults]", '[defaults]\nadapter = "lora"')
    found = keys(project, '[target.merged]\n[target.plain]\nadapter = ""\n', defaults)
    assert len(found["merge-lora"]) == 1
    assert len(found["huggingface-to-gguf"]) == 2


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ('[target.a]\nadapter = "lorra"\n', "build.toml:22: unknown source 'lorra'; did you mean 'lora'?"),
        ('[target.a]\nadapter = "adapter/x.safetensors"\n', "unknown source 'adapter/x.safetensors'"),
        ('[target.a]\nchat_template = "chat"\n', "unknown source 'chat'"),
        ('[target.a]\nchat_template = "none.jinja"\n', "none.jinja"),
        ('[target.a]\nadapter = "base"\n', "source 'base' is huggingface, peft-adapter is wanted"),
    ],
)
def test_what_cannot_be_put_in_is_one_sentence(project: Path, targets: str, reason: str) -> None:
    assert reason in mill(project, targets, "plan", "--json")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ ''.__class__.__mro__ }}", "line 1 uses the attribute"),
        ("{% include 'other' %}", "line 1 loads another template"),
        ("{{ cycler.__init__.__globals__.os }}", "line 1 uses"),
        ("{% if %}", "is not a Jinja template"),
        ("", "holds no template"),
    ],
)
def test_a_template_that_reaches_out_is_refused_as_a_checkpoint_s_own(
    project: Path, template: str, reason: str
) -> None:
    (project / "prompts/Chat.jinja").write_text(template)
    told = mill(project, ALL, "plan", "--json")
    assert "source 'prompts-chat.jinja': Chat.jinja" in told
    assert reason in told


def test_a_generation_config_is_one_object(project: Path) -> None:
    (project / "generation.json").write_text("[1]")
    assert "generation.json: holds list, not an object" in mill(project, ALL, "plan", "--json")
