"""The folder that Foundry Local's scanner takes for a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx_parts.folders import build, quantize

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


@pytest.mark.parametrize("with_template", [True, False])
def test_foundry_local_finds_the_model(tmp_path: Path, with_template: bool) -> None:  # noqa: FBT001 - a parameter of the test
    source = make_checkpoint(tmp_path / "source", "llama")
    for path in source.glob("chat_template*"):
        path.unlink()
    config = json.loads((source / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    if with_template:
        config["chat_template"] = TEMPLATE
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    options: dict[str, Any] = {"layout": "foundry-local", "model_name": "tiny:1"}
    made = build(source, tmp_path / "cache" / "me" / "tiny" / "v1", **options)
    prompt = {"assistant": "{Content}", "prompt": "<user>{Content}</user><assistant>"} if with_template else None
    assert scanned(tmp_path / "cache") == {"tiny:1": {"Name": "tiny:1", "PromptTemplate": prompt}}
    smaller = quantize(made, tmp_path / "other" / "me" / "tiny")
    assert scanned(tmp_path / "other").keys() == {"tiny:1"}
    assert not any(path.name.endswith("scratch") for path in smaller.iterdir())
