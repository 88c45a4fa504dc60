"""The folder that Foundry Local's scanner takes for a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx_parts.folders import build, quantize

from modelmill import ConvertError
from modelmill.testing.checkpoints import make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def scanned(cache: Path) -> dict[str, Any]:
    """What the scanner (local_model_scanner.cc) finds below a cache: publishers' folders, then models' anywhere."""
    found = {}
    for path in cache.glob("*/**/inference_model.json"):
        folder = path.parent
        content = json.loads(path.read_bytes())
        whole = (folder / "genai_config.json").is_file() and not (folder / "download.tmp").exists()
        if whole and isinstance(content.get("Name"), str) and not any(file.is_symlink() for file in folder.iterdir()):
            found[content["Name"]] = content
    return found


def templated(folder: Path, template: str | None) -> Path:
    """A checkpoint with this chat template."""
    source = make_checkpoint(folder, "llama")
    for path in source.glob("chat_template*"):
        path.unlink()
    config = json.loads((source / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    if template is not None:
        config["chat_template"] = template
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    return source


@pytest.mark.parametrize("with_template", [True, False])
def test_foundry_local_finds_the_model(tmp_path: Path, with_template: bool) -> None:  # noqa: FBT001 - a parameter of the test
    source = templated(tmp_path / "source", TEMPLATE if with_template else None)
    options: dict[str, Any] = {"layout": "foundry-local", "model_name": "tiny:1"}
    made = build(source, tmp_path / "cache" / "me" / "tiny" / "v1", **options)
    prompt = {"assistant": "{Content}", "prompt": "<user>{Content}</user><assistant>"} if with_template else None
    assert scanned(tmp_path / "cache") == {"tiny:1": {"Name": "tiny:1", "PromptTemplate": prompt}}
    smaller = quantize(made, tmp_path / "other" / "me" / "tiny")
    assert scanned(tmp_path / "other").keys() == {"tiny:1"}
    assert not any(path.name.endswith("scratch") for path in smaller.iterdir())


def test_no_day_of_a_build_is_in_the_prompt(tmp_path: Path) -> None:
    dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}26 Jul 2024{% endif %}"
    source = templated(tmp_path / "source", f"{dated} {TEMPLATE}")
    made = build(source, tmp_path / "made", layout="foundry-local", model_name="tiny:1")
    content = json.loads((made / "inference_model.json").read_text())
    assert content["PromptTemplate"]["prompt"] == "26 Jul 2024 <user>{Content}</user><assistant>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('a system prompt is missing') }}", "a system prompt is missing"),
        ("{{ messages[1].content }}", "UndefinedError"),
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "'the_day_of_the_build' is undefined"),
        ("{{ messages[0].role }}", "leaves out what the user says"),
    ],
)
def test_a_template_without_a_prompt_is_told_in_one_sentence(tmp_path: Path, template: str, said: str) -> None:
    source = templated(tmp_path / "source", template)
    with pytest.raises(ConvertError, match=r"^layout = foundry-local .* use layout = genai$") as caught:
        build(source, tmp_path / "made", layout="foundry-local", model_name="tiny:1")
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_tokenizer_that_does_not_load_is_told_in_one_sentence(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    (source / "tokenizer.json").write_text('{"model": {"type": "nothing known"}}')
    with pytest.raises(ConvertError, match=r"^the model builder cannot convert this checkpoint: [^\n]+$") as caught:
        build(source, tmp_path / "made", layout="foundry-local", model_name="tiny:1")
    assert str(tmp_path) not in str(caught.value)
