"""What attackers are known to put into models: each refused with one sentence, and never run.

What is in torch files is tried in tests/huggingface/test_torch_file.py, once a source allows them.
"""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_parts import TEMPLATE, make_adapter

from modelmill import ConvertError, config
from modelmill.checkpoint import facts
from modelmill.errors import ConfigError
from modelmill.lock import read_lock
from modelmill.registry import load
from modelmill.testing import convert, make_checkpoint
from modelmill_gguf import model as gguf
from modelmill_huggingface import adapter

ESCAPES = {
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "lipsum": "{{ lipsum.__globals__['os'] }}",
    "attr": "{{ messages|attr('__class__') }}",
    "put together": "{{ messages['__cl' ~ 'ass__'] }}",
    "include": "{% include '/etc/passwd' %}",
}


class Payload:
    def __reduce__(self) -> Any:
        return os.system, ("touch /nonexistent/ran",)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "base", "llama")


@pytest.fixture(autouse=True)
def counted(record_property: Callable[[str, int], None]) -> None:
    record_property("malicious samples refused", 1)


@pytest.mark.parametrize("template", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("name", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use"])
def test_a_gguf_file_whose_template_reaches_out_is_refused(
    tmp_path: Path, base: Path, name: str, template: str
) -> None:
    (base / "chat_template.jinja").write_text(TEMPLATE.ljust(len(template) + len(name)))
    file = convert("modelmill_gguf", "huggingface-to-gguf", "BF16", base, tmp_path / "gguf") / "model.gguf"
    data = file.read_bytes()
    key = b"tokenizer.chat_template"
    at = data.index(key) - 8
    text = TEMPLATE.ljust(len(template) + len(name)).encode()
    old = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little") + len(text).to_bytes(8, "little") + text
    assert data[at : at + len(old)] == old
    room = len(text) + len(key) - len(name)
    said = template.ljust(room).encode()
    new = (
        len(name).to_bytes(8, "little") + name.encode() + (8).to_bytes(4, "little") + room.to_bytes(8, "little") + said
    )
    file.write_bytes(data[:at] + new + data[at + len(old) :])
    with pytest.raises(ConvertError, match=f"model.gguf: {name}: line 1 ") as error:
        gguf.facts(file.parent)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("template", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize(
    "where", ["the only one", "for tools", "behind a good one", "in a file of its own", "a processor's"]
)
def test_a_checkpoint_with_a_template_that_reaches_out_is_refused(base: Path, where: str, template: str) -> None:
    path = base / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    named = [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": template}]
    if where == "in a file of its own":
        (base / "additional_chat_templates").mkdir()
        (base / "additional_chat_templates/tool_use.jinja").write_text(template)
    elif where == "a processor's":
        (base / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    else:
        path.write_text(json.dumps({**settings, "chat_template": named if where == "for tools" else template}))
    if where == "behind a good one":
        (base / "chat_template.jinja").write_text(TEMPLATE)
    with pytest.raises(ConvertError, match=r"line 1 .*; a chat template may only format messages"):
        facts(base)


def test_a_pickle_by_the_name_of_safetensors_is_refused(base: Path) -> None:
    (base / "model.safetensors").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ConvertError, match=r"model.safetensors: its header claims"):
        facts(base)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "model.ckpt", "model.pth", "model.pkl"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_by_any_name_is_refused_by_what_it_is(base: Path, name: str, zipped: bool) -> None:  # noqa: FBT001
    (base / "model.safetensors").unlink()
    data = pickle.dumps(Payload(), protocol=2)
    if zipped:
        with zipfile.ZipFile(base / name, "w") as archive:
            archive.writestr("archive/renamed.bin", data)
    else:
        (base / name).write_bytes(data[:-1])  # broken at its end, where it has run already
    with pytest.raises(ConvertError, match=f"{name}: is a Python pickle"):
        facts(base)


def test_a_checkpoint_that_brings_code_is_told_what_to_do(base: Path) -> None:
    settings = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**settings, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ConvertError, match=r"never run; use a checkpoint whose .* take auto_map out of config\.json"):
        facts(base)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "..", "a/../../b.safetensors"])
def test_an_index_that_leaves_its_folder_is_refused(base: Path, shard: str) -> None:
    (base / "model.safetensors").rename(base / "model-00001-of-00001.safetensors")
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": shard}}))
    with pytest.raises(ConvertError, match="is not in a file of this folder"):
        facts(base)


@pytest.mark.parametrize("path", ["../../etc/cron.d/x", "/etc/passwd", "a/../../b", "", "..\\x"])
def test_a_lock_whose_paths_leave_their_folder_is_refused(tmp_path: Path, path: str) -> None:
    assert_lock_is_refused(tmp_path, path=path)


@pytest.mark.parametrize("sha256", ["../../../etc/passwd", "", "0" * 63, "0" * 64 + "/x"])
def test_a_lock_whose_digests_are_none_is_refused(tmp_path: Path, sha256: str) -> None:
    assert_lock_is_refused(tmp_path, sha256=sha256)


def assert_lock_is_refused(folder: Path, path: str = "config.json", sha256: str = "0" * 64) -> None:
    (folder / "build.lock").write_text(
        'version = 1\n[source.base]\nuri = "x"\nrevision = "1"\nformat = "text"\nparameters = 0\n'
        f"[[source.base.file]]\npath = {json.dumps(path)}\nsize = 3\nsha256 = {json.dumps(sha256)}\n"
    )
    with pytest.raises(ConfigError, match=r"^build.lock: "):
        read_lock(folder / "build.lock")


def test_an_adapter_whose_header_claims_more_than_there_is_is_refused(tmp_path: Path, base: Path) -> None:
    given = make_adapter(tmp_path / "adapter", base)
    data = (given / adapter.WEIGHTS).read_bytes()
    (given / adapter.WEIGHTS).write_bytes((1 << 62).to_bytes(8, "little") + data[8:])
    with pytest.raises(ConvertError, match="its header claims"):
        adapter.facts(given)


def test_a_build_file_of_brackets_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"build.toml:\d+: not valid TOML"):
        config.parse("a = " + "[" * 100_000, tmp_path / "build.toml", load())
