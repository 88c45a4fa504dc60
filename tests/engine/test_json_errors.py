"""Failures under `--json`, and the exit code of what the user gave wrongly."""

from pathlib import Path

import pytest

from .conftest import BUILD, Mill

WRONG = {
    "plan": (("plan", "nosuch"), "there is no target 'nosuch'"),
    "an option": (("plan", "--nosuch"), "No such option"),
    "a reference": (("pull", "UPPER/x:1", "-o", "got"), "is no image reference"),
    "a key": (("verify", "words", "--key", "nosuch.pub"), "cannot read the public key nosuch.pub"),
    "no key at all": (("verify", "words", "--key", "build.toml"), "not a public key in PEM form"),
    "a policy": (("verify", "words", "--policy", "nosuch.toml"), "cannot read the policy nosuch.toml"),
    "a policy's key": (("verify", "words", "--policy", "policy.toml"), "unknown key 'kyes'; did you mean 'keys'?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_a_document_and_exit_code_2(mill: Mill, what: str) -> None:
    mill.write(BUILD)
    mill.write("kyes = []\n", "policy.toml")
    words, said = WRONG[what]
    done = mill.run(*words, "--json")
    assert done.code == 2
    document = done.json()
    assert said in document.pop("error")
    assert said in done.err
    assert document == ({"verified": False} if words[0] == "verify" else {})
    assert mill.run(*words).out == "", "without --json there is none"


def test_an_artifact_that_was_tampered_with_is_exit_code_1(mill: Mill, tmp_path: Path) -> None:
    mill.write(BUILD.replace('mode = "none"', 'key = "key.pem"'))
    assert mill.run("keys", "new", "key.pem").code == 0
    assert mill.run("build", "plain").code == 0
    (tmp_path / "dist/words/1.0/plain/loud.txt").write_text("other\n")
    done = mill.run("verify", "dist/words/1.0/plain", "--key", "key.pub", "--json")
    assert (done.code, done.json()["verified"]) == (1, False)
    assert "loud.txt" in done.json()["error"]
