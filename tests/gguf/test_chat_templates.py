import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import comparable_fields, convert, predicted, reference

from modelmill import ConvertError, Facts, Job, Limits, Outlook
from modelmill.checkpoint import facts, read_tokenizer
from modelmill.testing import make_checkpoint
from modelmill_gguf import model
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from modelmill_gguf.to_huggingface import TO_HUGGINGFACE
from reference import llama

NAMES = "tokenizer.chat_templates"
TOOLS = "{% for tool in tools %}{{ tool.name }}{% endfor %}{{ messages[0].content }}"
RAG = "{{ documents[0] }}"


def listed(source: Path) -> None:
    """Several templates in tokenizer_config.json, as Command R has them."""
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text())
    default = {"name": "default", "template": config["chat_template"]}
    config["chat_template"] = [{"name": "tool use", "template": TOOLS}, default, {"name": "rag", "template": RAG}]
    path.write_text(json.dumps(config))


def only_named(source: Path) -> None:
    """A list without one that is used where none is asked for."""
    path = source / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": [{"name": "rag", "template": RAG}]}))


def files(source: Path) -> None:
    """Files beside the default one, as transformers saves several."""
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text())
    (source / "chat_template.jinja").write_text(config.pop("chat_template"))
    path.write_text(json.dumps(config))
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates/tool_use.jinja").write_text(TOOLS)
    (source / "additional_chat_templates/rag.jinja").write_text(RAG)


def older(source: Path) -> None:
    """A file of its own, as older processors have it."""
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text())
    (source / "chat_template.json").write_text(json.dumps({"chat_template": config.pop("chat_template")}))
    path.write_text(json.dumps(config))


def none(source: Path) -> None:
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template")
    path.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, llama_cpp_sdist: Path) -> Path:
    """A checkpoint with its templates in each way, converted by both."""
    folder = tmp_path_factory.mktemp("templates")
    runs = []
    for change in (listed, only_named, files, older, none):
        source = make_checkpoint(folder / "source" / change.__name__, "qwen2")
        change(source)
        convert(source, folder / "ours" / change.__name__, "BF16")
        runs.append((source, folder / f"{change.__name__}.gguf", "BF16", "qwen2"))
    reference(llama_cpp_sdist, runs)
    return folder


@pytest.mark.parametrize("change", [listed, only_named, files, older, none])
def test_chat_templates_are_llama_cpps(converted: Path, change: Callable[[Path], None]) -> None:
    file = converted / "ours" / change.__name__ / "model.gguf"
    ours, theirs = comparable_fields(file), comparable_fields(converted / f"{change.__name__}.gguf")
    # The script's order is that of a set, and another one each time.
    mine, script = (fields.pop(NAMES, None) for fields in (ours, theirs))
    assert (mine and value(mine)) == (script and sorted(value(script)))
    assert ours == theirs
    assert dict(predicted(converted / "source" / change.__name__, "BF16").files) == {"model.gguf": file.stat().st_size}


def test_llama_cpp_finds_the_templates_by_their_names(converted: Path) -> None:
    with llama.loaded(converted / "ours" / "listed" / "model.gguf") as loaded:
        metadata = loaded.metadata
    assert metadata["tokenizer.chat_template.tool_use"] == TOOLS
    assert metadata["tokenizer.chat_template.rag"] == RAG
    assert "im_start" in metadata["tokenizer.chat_template"]
    fields = read_header(converted / "ours" / "listed" / "model.gguf").fields
    assert value(fields[NAMES]) == ["rag", "tool_use"]


@pytest.mark.parametrize("change", [listed, only_named, files, older, none])
def test_the_way_back_keeps_the_templates(tmp_path: Path, converted: Path, change: Callable[[Path], None]) -> None:
    folder = converted / "ours" / change.__name__
    out = tmp_path / "out"
    out.mkdir()
    limits = Limits(scratch=tmp_path / "scratch")
    options = TO_HUGGINGFACE.options()
    job: Job[Any] = Job(source=folder, inputs={}, out=out, scheme="BF16", options=options, hardware=None, limits=limits)
    TO_HUGGINGFACE.run(job)
    before, after = read_tokenizer(converted / "source" / change.__name__), read_tokenizer(out)
    assert before is not None
    assert after is not None
    assert after.chat_template == before.chat_template
    spelled = {name.replace(" ", "_"): text for name, text in before.named_templates.items()}
    assert after.named_templates == spelled
    inferred = TO_HUGGINGFACE.infer(Outlook(facts=model.facts(folder), scheme="BF16", options=options))
    assert isinstance(inferred, Facts)
    assert inferred.files == facts(out).files
    assert inferred.details["tokenizer"] == facts(out).details["tokenizer"]


def test_two_names_that_are_one_in_gguf_are_refused(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "qwen2")
    files(source)
    (source / "additional_chat_templates/tool-use.jinja").write_text(RAG)
    with pytest.raises(ConvertError, match=r"'tool-use' and 'tool_use', are tokenizer\.chat_template\.tool_use"):
        predicted(source)
