"""build.lock over a hub that moves: what is pinned, what is fetched, what is said when something changed."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from source_parts.building import Mill
from source_parts.hub import COMMIT, Hub

from modelmill.lock.origin import stated_uri
from modelmill.testing import make_checkpoint

MOVED = "2" * 40
LICENCE = "                                 Apache License\n                           Version 2.0, January 2004\n"


@pytest.fixture
def checkpoint(tmp_path: Path, remote: Hub) -> dict[str, bytes]:
    """A checkpoint on the hub, beside files that no step reads."""
    make_checkpoint(tmp_path / "checkpoint", "llama")
    files = {path.name: path.read_bytes() for path in sorted((tmp_path / "checkpoint").iterdir())}
    files.pop("README.md", None)
    remote.files = {**files, "LICENSE": LICENCE.encode()}
    return files


def fetched(remote: Hub) -> list[str]:
    return sorted(path.rpartition("/")[2] for path, _, _ in remote.requests if "/resolve/" in path)


def locked(mill: Mill) -> Any:
    return tomllib.loads((mill.folder / "build.lock").read_text())["source"]["base"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("checkpoint")
def test_a_branch_is_pinned_and_what_moved_is_named(tmp_path: Path, remote: Hub) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("lock").code == 0
    assert locked(mill)["revision"] == COMMIT
    assert mill("lock", "--check").code == 0
    remote.older[COMMIT] = remote.files
    remote.commit, remote.files = MOVED, {**remote.files, "config.json": remote.files["config.json"] + b"\n"}
    remote.files["extra.json"] = b"{}"
    del remote.files["LICENSE"]
    before = (mill.folder / "build.lock").read_bytes()
    done = mill("lock", "--check")
    assert done.code == 2
    assert done.out.splitlines() == [
        "build.lock does not stand for base",
        f"  base: revision {COMMIT} is now {MOVED}",
        "  base: config.json changed",
        "  base: extra.json is new",
        "  base: LICENSE is gone",
    ]
    assert (mill.folder / "build.lock").read_bytes() == before
    assert mill("build", "--locked").code == 0, "the lock still stands for the commit that it names"
    assert mill("lock").code == 0
    assert locked(mill)["revision"] == COMMIT
    assert mill("lock", "--update", "base").code == 0
    assert locked(mill)["revision"] == MOVED
    assert mill("lock", "--check").code == 0


@pytest.mark.usefixtures("checkpoint")
def test_a_commit_stays_where_it_is(tmp_path: Path, remote: Hub) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model", f'revision = "{COMMIT}"\n')
    assert mill("lock").code == 0
    remote.older[COMMIT] = remote.files
    remote.commit, remote.files = MOVED, {"config.json": b"{}"}
    assert mill("lock", "--check").code == 0
    assert mill("lock", "--update").code == 0
    assert locked(mill)["revision"] == COMMIT


@pytest.mark.usefixtures("checkpoint")
def test_a_lock_that_does_not_stand_for_the_build_is_refused_before_anything_is_asked(
    tmp_path: Path, remote: Hub
) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    remote.requests.clear()
    done = mill("build", "--locked")
    assert (done.code, done.err) == (2, "modelmill: build.lock: does not stand for source base; run `modelmill lock`\n")
    assert remote.requests == []
    assert mill("lock").code == 0
    assert mill("build", "--locked").code == 0
    Mill(tmp_path / "build", "hf://team/model", 'exclude = ["LICENSE"]\n')
    assert mill("build", "--locked").code == 2


def test_files_that_no_step_reads_are_neither_fetched_nor_judged(
    tmp_path: Path, remote: Hub, checkpoint: dict[str, bytes]
) -> None:
    others = {
        "pytorch_model.bin": b"cos\nsystem\n(S'true'\ntR.",
        "modeling.py": b"raise SystemExit",
        "onnx/model.onnx": b"x",
    }
    remote.files |= {**others, "tiny-Q8_0.gguf": b"GGUF, not really"}
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("build").code == 0
    assert {file["path"] for file in locked(mill)["file"]} == {*checkpoint, "LICENSE"}
    assert set(fetched(remote)) == {*checkpoint, "LICENSE"}


def test_a_lock_and_a_plan_need_only_the_headers_of_the_weights(
    tmp_path: Path, remote: Hub, checkpoint: dict[str, bytes]
) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("lock").code == 0
    sizes = {file["path"]: file["size"] for file in locked(mill)["file"]}
    assert sizes["model.safetensors"] == len(checkpoint["model.safetensors"])
    assert not list((mill.folder / "store" / "partial").iterdir())
    stored = {path.stat().st_size for path in (mill.folder / "store" / "blobs" / "sha256").iterdir()}
    assert sizes["model.safetensors"] not in stored
    assert mill("plan").code == 0
    assert mill("build", "--locked").code == 0
    assert fetched(remote).count("model.safetensors") == 2, "its header, and then all of it"


def test_weights_whose_header_was_another_before_are_refused(
    tmp_path: Path, remote: Hub, checkpoint: dict[str, bytes]
) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    weights = checkpoint["model.safetensors"]
    lying = weights.replace(b'"BF16"', b'"F16" ', 1)
    assert lying != weights
    assert len(lying) == len(weights)
    remote.lies = {"model.safetensors": lying}
    assert mill("lock").code == 0
    remote.lies = {}
    done = mill("build", "--locked")
    assert done.code == 2
    assert "the headers that hf://team/model served first are not those of the files" in done.err
    assert mill("build", "--locked").code == 0


@pytest.mark.usefixtures("checkpoint")
def test_include_and_exclude_choose_files(tmp_path: Path, remote: Hub) -> None:
    remote.files |= {"a-Q4_0.gguf": b"GGUF", "a-Q8_0.gguf": b"GGUF", "extra.json": b"{}"}
    mill = Mill(tmp_path / "build", "hf://team/model", 'exclude = ["extra.*", "LICENSE"]\n')
    assert mill("lock").code == 0
    assert {"extra.json", "LICENSE", "a-Q4_0.gguf"}.isdisjoint({file["path"] for file in locked(mill)["file"]})
    assert locked(mill)["exclude"] == ["extra.*", "LICENSE"]
    del remote.files["model.safetensors"]
    other = Mill(tmp_path / "other", "hf://team/model")
    done = other("lock")
    assert (done.code, "holds 2 GGUF models (a-Q4_0.gguf, a-Q8_0.gguf); say which with `include`" in done.err) == (
        2,
        True,
    )
    done = Mill(tmp_path / "third", "hf://team/model", 'include = ["*.txt"]\n')("lock")
    assert "of hf://team/model matches *.txt" in done.err


@pytest.mark.usefixtures("checkpoint")
def test_of_folders_below_a_checkpoint_only_that_of_named_chat_templates_counts(tmp_path: Path, remote: Hub) -> None:
    remote.files |= {"additional_chat_templates/rag.jinja": b"{{ x }}", "original/rag.jinja": b"{{ x }}"}
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("lock").code == 0
    below = [file["path"] for file in locked(mill)["file"] if "/" in file["path"]]
    assert below == ["additional_chat_templates/rag.jinja"]


def test_a_file_that_leaves_its_folder_is_refused(tmp_path: Path, remote: Hub) -> None:
    remote.files["../evil.json"] = b"{}"
    done = Mill(tmp_path / "build", "hf://team/model")("lock")
    assert (done.code, "the file '../evil.json' leaves its folder" in done.err) == (2, True)


@pytest.mark.usefixtures("checkpoint")
def test_offline_says_what_is_missing(tmp_path: Path, remote: Hub) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    done = mill("build", "--offline")
    assert done.code == 2
    assert "source 'base': build.lock does not stand for hf://team/model, and --offline asks nobody" in done.err
    assert mill("lock").code == 0
    asked = len(remote.requests)
    size = next(file["size"] for file in locked(mill)["file"] if file["path"] == "model.safetensors")
    done = mill("build", "--offline")
    assert done.code == 2
    assert f"the store lacks model.safetensors ({size:,} bytes) of hf://team/model" in done.err
    assert "run `modelmill lock --fetch`" in done.err
    assert mill("plan", "--offline").code == 0
    assert len(remote.requests) == asked
    assert mill("lock", "--fetch").code == 0
    asked = len(remote.requests)
    assert mill("build", "--locked", "--offline").code == 0
    assert len(remote.requests) == asked


@pytest.mark.usefixtures("checkpoint", "remote")
def test_a_build_without_any_network_gives_the_same_bytes(tmp_path: Path) -> None:
    alone = ("unshare", "--net")
    allowed = subprocess.run([*alone, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"needs the right to make a network namespace: {allowed.stderr.strip()}")
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("build").code == 0
    first = contents(mill.folder / "dist")
    shutil.rmtree(mill.folder / "dist")
    shutil.rmtree(mill.folder / "store" / "steps")
    done = mill("build", "--locked", "--offline", before=alone)
    assert done.code == 0, done.err
    assert contents(mill.folder / "dist") == first
    shutil.rmtree(mill.folder / "store")
    done = mill("build", "--locked", "--offline", before=alone)
    assert (done.code, "the store lacks" in done.err) == (2, True)


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, remote: Hub, checkpoint: dict[str, bytes], number: signal.Signals
) -> None:
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("lock").code == 0
    remote.stall_after, remote.requests[:] = 100_000, []
    with subprocess.Popen(mill.command("lock", "--fetch"), cwd=mill.folder) as process:
        assert remote.stalled.wait(60)
        (part,) = (mill.folder / "store" / "partial").iterdir()
        wait_for(lambda: part.stat().st_size == 100_000)
        process.send_signal(number)
        assert process.wait(15) == (130 if number is signal.SIGINT else -number), "though the server says no more"
    assert mill("lock", "--fetch").code == 0
    asked = [wanted for path, wanted, _ in remote.requests if path.endswith("/model.safetensors")]
    assert asked == ["", "bytes=100000-"]
    assert list((mill.folder / "store" / "partial").iterdir()) == []
    assert checkpoint["model.safetensors"] in {
        path.read_bytes() for path in (mill.folder / "store" / "blobs" / "sha256").iterdir()
    }


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("checkpoint")
def test_a_lock_tells_the_licence_and_the_facts_and_no_secret_no_place_and_no_time(tmp_path: Path, remote: Hub) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "calibration.txt").write_text("Some text to measure with.\n")
    more = '[source.text]\nuri = "../text/calibration.txt"\nformat = "text"\n'
    mill = Mill(tmp_path / "build", "hf://team/model", more)
    secrets = {
        "HF_TOKEN": "hf_verysecret",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
        "HTTPS_PROXY": "http://u:verysecret@h",
    }
    assert mill("lock", environment={**secrets, "NO_PROXY": "127.0.0.1"}).code == 0
    text = (mill.folder / "build.lock").read_text()
    for word in ("secret", str(tmp_path), os.uname().nodename, remote.address, "T0", "mtime"):
        assert word not in text
    sources = tomllib.loads(text)["source"]
    assert (sources["base"]["licence"], sources["base"]["architecture"]) == ("Apache-2.0", "LlamaForCausalLM")
    assert sources["base"]["parameters"] > 0
    assert [file["path"] for file in sources["text"]["file"]] == ["calibration.txt"]
    assert sources["text"]["revision"].startswith("sha256:")
    shutil.copytree(mill.folder, tmp_path / "deep" / "copy", ignore=shutil.ignore_patterns("store", "build.lock"))
    shutil.copytree(tmp_path / "text", tmp_path / "deep" / "text")
    other = Mill(tmp_path / "deep" / "copy", "hf://team/model", more)
    assert other("lock").code == 0
    assert (other.folder / "build.lock").read_text() == text, "the same on another day and elsewhere"


def test_the_card_says_the_licence_before_the_licence_file(
    tmp_path: Path, remote: Hub, checkpoint: dict[str, bytes]
) -> None:
    remote.files["README.md"] = b"---\nlicense: mit\n---\n# tiny\n"
    mill = Mill(tmp_path / "build", "hf://team/model")
    assert mill("lock").code == 0
    assert locked(mill)["licence"] == "MIT"
    assert checkpoint


@pytest.mark.parametrize(
    ("answers", "code", "sentence"),
    [
        ([401], 2, "401"),
        ([403], 2, "403"),
        ([404], 2, "there is no such model"),
        ([429, 429], 0, ""),
        ([503], 0, ""),
    ],
)
@pytest.mark.usefixtures("checkpoint")
def test_what_the_hub_answers_is_a_sentence_or_is_waited_for(
    tmp_path: Path, remote: Hub, answers: list[int], code: int, sentence: str
) -> None:
    remote.answers = answers
    done = Mill(tmp_path / "build", "hf://team/model")("lock")
    assert done.code == code
    assert sentence in done.err
    assert len(done.err.splitlines()) == (1 if code else 0), done.err


@pytest.mark.parametrize(
    ("uri", "stated"),
    [
        ("hf://team/model@main#*.json", "hf://team/model@main#*.json"),
        ("checkpoint", "checkpoint"),
        ("path:../checkpoint", "path:../checkpoint"),
        ("/home/ada/model", "path:model"),
        ("path:/home/ada/model.gguf", "path:model.gguf"),
        ("path:///home/ada/model", "path://model"),
        ("fsspec:file:///home/ada/model", "fsspec:file://model"),
        ("fsspec:sftp://ada:word@host/model", "fsspec:sftp://host/model"),
        ("https://host/m.gguf?sig=word#sha256=00", "https://host/m.gguf#sha256=00"),
        ("other://ada:word@host/m?ref=1", "other://host/m?ref=1"),
    ],
)
def test_a_uri_is_stated_without_passwords_signatures_and_folders_of_this_machine(uri: str, stated: str) -> None:
    assert stated_uri(uri) == stated


def test_a_lock_of_a_folder_named_from_the_root_holds_no_place(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    mill = Mill(tmp_path / "build", str(tmp_path / "model"))
    assert mill("build").code == 0
    assert mill("build", "--locked", "--offline").code == 0
    written = [mill.folder / "build.lock", *(path for path in (mill.folder / "dist").rglob("*") if path.is_file())]
    assert [path for path in written if str(tmp_path).encode() in path.read_bytes()] == []
    assert locked(mill)["uri"] == "path:model"


def test_calibration_texts_and_templates_are_locked_as_models_are(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "chat.jinja").write_text("{{ messages[0]['content'] }}")
    (tmp_path / "build" / "text.txt").write_text("Some text to measure with.\n")
    more = '[source.text]\nuri = "text.txt"\nformat = "text"\n[defaults]\nchat_template = "chat.jinja"\n'
    mill = Mill(tmp_path / "build", "../model", more)
    assert mill("lock").code == 0
    sources = tomllib.loads((mill.folder / "build.lock").read_text())["source"]
    for name, path in (("text", "text.txt"), ("chat.jinja", "chat.jinja")):
        data = (mill.folder / path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert sources[name]["file"] == [{"path": path, "size": len(data), "sha256": digest}]
    (mill.folder / "chat.jinja").write_text("{{ messages[1]['content'] }}")
    done = mill("lock", "--check")
    assert (done.code, "chat.jinja: chat.jinja changed" in done.out) == (2, True)
