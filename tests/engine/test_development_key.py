"""Where a development key signed, or none: only a build makes one, and it counts only where that is said."""

import pytest

from .conftest import BUILD, Done, Mill

RELEASE = "dist/words/1.0"


def elsewhere(mill: Mill, *words: str) -> Done:
    """A command on a machine that has no development key, and still has none afterwards."""
    data = mill.folder / "elsewhere"
    done = mill.run(*words, environment={"XDG_DATA_HOME": str(data)})
    assert not data.exists()
    return done


@pytest.fixture
def built(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> Mill:
    monkeypatch.setenv("XDG_DATA_HOME", str(mill.folder / "data"))
    mill.write(BUILD.replace('mode = "none"', 'key = "development:"'))
    assert mill.run("build").code == 0
    return mill


def test_only_a_build_makes_a_development_key(built: Mill) -> None:
    for words in (("keys", "show"), ("verify", RELEASE, "--development-keys")):
        done = elsewhere(built, *words)
        assert done.code == 2
        assert "there is no development key at" in done.err
    assert built.run("verify", RELEASE, "--development-keys").code == 0


@pytest.mark.parametrize("kept", ["with its note", "without"])
def test_a_development_key_that_was_given_away_counts_only_where_that_is_said(built: Mill, kept: str) -> None:
    shown = built.run("keys", "show").out
    assert shown.startswith("modelmill development key")
    (built.folder / "dev.pub").write_text(shown if kept == "with its note" else shown[shown.index("-----BEGIN") :])
    words = ("verify", RELEASE, "--key", "dev.pub")
    refused = elsewhere(built, *words)
    assert refused.code == (2 if kept == "with its note" else 1)  # a key that can vouch for nothing is wrong input
    assert "dev.pub" in refused.err
    assert "which proves nothing about who signed; add --development-keys" in refused.err
    assert elsewhere(built, *words, "--development-keys").code == 0


def test_what_a_development_key_signed_is_published_only_where_that_is_said(built: Mill) -> None:
    words = ("publish", "127.0.0.1:1/team/words", "-O", "tries=1")
    for refused in (built.run(*words), elsewhere(built, *words)):
        assert refused.code == 2
        assert "signed by a development key" in refused.err
        assert "or add --development-keys" in refused.err
    assert "there is no development key at" in elsewhere(built, *words, "--development-keys").err
    asked = built.run(*words, "--development-keys")
    assert asked.code == 1
    assert "127.0.0.1:1" in asked.err  # where nobody listens


def test_what_nobody_signed_is_published_with_a_warning(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    asked = mill.run("publish", "127.0.0.1:1/team/words", "-O", "tries=1")
    warning, failure = asked.err.splitlines()[0], asked.err.splitlines()[-1]
    assert warning.startswith("modelmill: warning: the release is not signed ([sign] mode of build.toml)")
    assert "127.0.0.1:1" in failure  # where nobody listens


def test_a_file_that_is_no_public_key_is_one_sentence_of_ours(built: Mill) -> None:
    (built.folder / "wrong.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    done = built.run("verify", RELEASE, "--key", "wrong.pub")
    assert done.err == (
        "modelmill: wrong.pub: not a public key in PEM form; give the file .pub that `modelmill keys new` wrote, or "
        "what `modelmill keys show` prints\n"
    )
