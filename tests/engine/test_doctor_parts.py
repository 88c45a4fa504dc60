"""Doctor tells what the sources, the key and the packages of the build file at hand need to be installed."""

from pathlib import Path

import pytest
from interpreters import install, make_interpreter

from modelmill.installed.extras import missing

from .conftest import BUILD, PLUGIN, Mill

PARTS = """
from modelmill import Packager, SignerOffer, Source, hookimpl
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    big: bool = False


def never(*arguments):
    raise AssertionError("doctor only looks")


@hookimpl
def modelmill_sources():
    yield Source(name="moon", resolve=never, connect=never, requirement="lander[legs]")
    yield Source(name="mars", resolve=never, connect=never, requirement="rover")


@hookimpl
def modelmill_signers():
    yield SignerOffer(scheme="seal", open=never, requirement="wax>=2")
    yield SignerOffer(scheme="stamp", open=never, requirement="ink")


@hookimpl
def modelmill_packagers():
    yield Packager(name="crate", formats=(), options=Options, package=never, table="image", requirement="planks")
    yield Packager(name="sack", formats=(), options=Options, package=never, table="deploy", requirement="cloth")
"""


def lay(site: Path, name: str, version: str, *requires: str, extras: tuple[str, ...] = ()) -> None:
    """Lay out the metadata of a distribution that requires others, some of them for an extra."""
    install(site, name, version, {})
    info = site / f"{name}-{version}.dist-info" / "METADATA"
    lines = [*(f"Provides-Extra: {extra}" for extra in extras), *(f"Requires-Dist: {text}" for text in requires)]
    info.write_text(info.read_text() + "".join(f"{line}\n" for line in lines))


@pytest.fixture
def parts(tmp_path: Path) -> Mill:
    site = make_interpreter(tmp_path / "interpreter")
    install(site, "letters", "1.0", {"letters": PLUGIN.read_text()})
    install(site, "parts", "1.0", {"parts": PARTS})
    lay(site, "lander", "1.0", "struts>=3; extra == 'legs'", "wings; extra == 'glider'", extras=("legs", "glider"))
    lay(site, "planks", "1.0")
    lay(site, "wax", "1.0")
    (tmp_path / "words").mkdir()
    return Mill(python=tmp_path / "interpreter" / "bin" / "python", folder=tmp_path)


def told(mill: Mill) -> dict[str, tuple[str, str, str]]:
    found = mill.run("doctor", "--quick", "--json").json()["findings"]
    return {item["name"]: (item["state"], item["said"], item["mend"]) for item in found}


def test_what_the_build_file_uses_is_told_with_its_command(parts: Mill) -> None:
    more = '\n[source.other]\nuri = "moon://base/model"\n\n[image]\n'
    parts.write(BUILD.replace('mode = "none"', 'key = "seal:mine"') + more)
    found = told(parts)
    assert found["source moon"] == (
        "missing",
        "struts>=3 not installed; used by source 'other' of build.toml",
        "pip install 'lander[legs]'",
    )
    assert found["signer seal"] == (
        "missing",
        "wax>=2 not installed; used by [sign] of build.toml",
        "pip install 'wax>=2'",
    )
    assert found["packager crate"] == ("good", "planks is installed; used by [image] of build.toml", "")
    unused = {"source mars", "signer stamp", "packager sack", "source path"}
    assert not unused & set(found)


def test_without_a_build_file_no_source_is_told_of(parts: Mill) -> None:
    assert not [name for name in told(parts) if name.startswith(("source ", "signer ", "packager "))]


@pytest.mark.parametrize(
    ("old", "new", "said", "mended"),
    [
        (
            'uri = "words"',
            'uri = "venus:words"',
            "build.toml:8: unknown kind of source 'venus'",
            "correct line 8 of build.toml",
        ),
        ('mode = "none"', 'key = "sael:mine"', "unknown signer 'sael'", "correct build.toml"),
        ("[project]", "[project", "build.toml:2:", "correct line 2 of build.toml"),
        (
            'hardware = "bench"\nformat = "loud"',
            'hardware = "bank"\nformat = "laud"',
            "(and 1 more)",
            "correct line 13 of build.toml; `modelmill plan` tells the other mistakes",
        ),
    ],
)
def test_a_build_file_that_is_wrong_is_a_finding(parts: Mill, old: str, new: str, said: str, mended: str) -> None:
    parts.write(BUILD.replace(old, new))
    state, sentence, mend = told(parts)["build.toml"]
    assert (state, mend) == ("bad", mended)
    assert said in sentence
    assert parts.run("doctor", "--quick").code == 1


@pytest.mark.parametrize(
    ("requirement", "lacking"),
    [
        ("base", ()),
        ("base>=2", ("base>=2",)),
        ("base[one]", ("absent",)),
        ("base[two]", ("middle<1", "absent")),
        ("base[one,two]", ("absent", "middle<1")),
        ("base[all]", ("absent", "middle<1")),
        ("base[elsewhere]", ()),
        ("base[unheard]", ()),
        ("nowhere[extra]>=3", ("nowhere>=3",)),
    ],
)
def test_what_an_extra_lacks_is_found_through_the_extras_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, lacking: tuple[str, ...]
) -> None:
    lay(
        tmp_path,
        "base",
        "1.5",
        "gone-without-an-extra",
        "absent; extra == 'one'",
        "middle[deep]<1; extra == 'two'",
        "base[one,two]; extra == 'all'",
        "absent; extra == 'elsewhere' and sys_platform == 'os2'",
        extras=("one", "two", "all", "elsewhere"),
    )
    lay(tmp_path, "middle", "1.0", "absent; extra == 'deep'", extras=("deep",))
    monkeypatch.syspath_prepend(tmp_path)
    assert set(missing(requirement)) == set(lacking)


def test_every_source_that_needs_an_extra_says_which(parts: Mill) -> None:
    uris = {"gs": "modelmill[gs]", "hf": "modelmill[hf]", "s3": "modelmill[s3]", "azureml": "modelmill[azureml]"}
    sources = "".join(f'\n[source.{name}]\nuri = "{name}://one/two"\n' for name in uris)
    parts.write(BUILD + sources)
    found = told(parts)
    for name, requirement in uris.items():
        state, said, mend = found[f"source {name}"]
        assert requirement in (said if state == "good" else mend)
