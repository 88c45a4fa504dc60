"""README's way from a build file to a device, with a real registry in the place of the one that it names."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from oci_parts.registries import RegistryServer

from modelmill.testing import make_checkpoint

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
RELEASING, DEPLOYING = README.split("\n## You deploy models\n")
NAMED = "registry.example"


def block(text: str, kind: str) -> str:
    """The last block of this kind."""
    return str(re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[-1])


def line(text: str, command: str) -> list[str]:
    """The words after `modelmill` of the one line with this command."""
    (found,) = re.findall(rf"^\$ modelmill ({command} [^#\n]*)", text, re.MULTILINE)
    return str(found).split()


class Tour:
    """A folder with README's build file of two targets, and README's lines run in it."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host = folder, host

    def run(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        place = [word.replace(NAMED, self.host) for word in words]
        command = [sys.executable, *place] if words[0] == "-c" else [sys.executable, "-m", "modelmill", *place]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """README's build file, with a tiny checkpoint in the place of the hub's, built and signed."""
    folder = tmp_path_factory.mktemp("tour")
    text = re.findall(r"^```toml\n(.*?)^```$", RELEASING, re.MULTILINE | re.DOTALL)[0]
    make_checkpoint(folder / "checkpoint", "llama")
    (folder / "build.toml").write_text(re.sub(r'uri = "hf://[^"]*".*', 'uri = "checkpoint"', text))
    assert len(tomllib.loads(text)["target"]) == 2
    tour = Tour(folder, NAMED)
    tour.run(*line(RELEASING, "keys new"))
    tour.run("build", "--store", "store")
    tour.run(*line(RELEASING, "verify"))
    (folder / "release.pub").write_bytes((folder / "keys/release.pub").read_bytes())
    (folder / "policy.toml").write_text('keys = ["release.pub"]\nname = "support-bot"\nversion = "1.0.0"\n')
    return folder


@pytest.fixture
def published(built: Path, registry: RegistryServer) -> Tour:
    tour = Tour(built, registry.host)
    tour.run(*line(RELEASING, "publish"))
    return tour


def pull(tour: Tour, output: Path) -> str:
    """Run README's pull for one of the devices that its build file names, into `output`; what it said."""
    words = [str(output) if word == "model" else word for word in line(DEPLOYING, "pull")]
    done = tour.run(*words, "--hardware", "raspberry-pi-5", "--store", str(output.parent / "store"))
    return done.stdout


def test_what_was_pulled_is_verified_again_with_the_lines_that_readme_shows(published: Tour, tmp_path: Path) -> None:
    model = tmp_path / "model"
    told = pull(published, model)
    (file,) = (model / "raspberry-pi-5").glob("*.gguf")
    assert told.startswith(f"{file}: verified, signed by release.pub (")
    assert told.count("\n") == 1, "why it was taken is told once, when it is chosen"
    words = [str(model) if word == "model" else word for word in line(DEPLOYING, "verify")]
    document = json.loads(published.run(*words).stdout)
    assert [item["target"] for item in document["artifacts"]] == ["raspberry-pi-5"]
    assert document["release"] == {"name": "support-bot", "version": "1.0.0", "missing": ["macbook"]}
    words.remove("--json")
    assert (
        "release support-bot 1.0.0: good in part; 1 of its 2 targets, without macbook" in published.run(*words).stdout
    )
    snippet = block(DEPLOYING, "python").replace('Path("model")', f"Path({str(model)!r})")
    assert published.run("-c", snippet).stdout == "[('raspberry-pi-5', 'gguf')]\n"
    named = published.run("verify", str(model), "--key", "release.pub", "--target", "raspberry-pi-5")
    assert "good in part" in named.stdout
    (model / "raspberry-pi-5" / "README.md").unlink()
    assert "'README.md' is missing" in published.run(*words, code=1).stderr


def test_what_is_wrong_with_a_pulled_release_is_told_of_its_reference(published: Tour, tmp_path: Path) -> None:
    published.run("keys", "new", str(tmp_path / "other.pem"))
    words = line(DEPLOYING, "pull")
    words[words.index("release.pub")] = str(tmp_path / "other.pub")
    said = published.run(*words, "--target", "macbook", "--store", str(tmp_path / "store"), code=1).stderr
    assert f"{published.host}/team/support-bot:1.0.0: release.json.sig: signed by the key" in said
    assert str(tmp_path / "store") not in said
