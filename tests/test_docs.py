import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from huggingface_parts import GENERATION, TEMPLATE, make_adapter
from kit_use import suites, tried
from reference_pages import HOOKS, PAGES, signature_of

from modelmill import cli, config, testing
from modelmill.config import records
from modelmill.hardware.schema import FIELDS, load_profile
from modelmill.recipe import parse_toml
from modelmill.registry import load
from modelmill.testing import make_checkpoint
from modelmill_artifacts.policy import PolicyFile

ROOT = Path(__file__).parent.parent
PROSE = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
    if not path.name.startswith(".")
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SEPARATORS = {"&&", "||", "|", ";"}


def blocks(path: Path, *kinds: str) -> Iterator[str]:
    yield from (text for kind, text in BLOCK.findall((ROOT / path).read_text("utf-8")) if kind in kinds)


def shell_lines(path: Path) -> Iterator[str]:
    """Each command line that a page shows: after a prompt, or anything in a block of shell."""
    for text in blocks(path, "console"):
        yield from (line[2:] for line in text.replace("\\\n", " ").splitlines() if line.startswith("$ "))
    for text in blocks(path, "sh", "bash"):
        yield from text.replace("\\\n", " ").splitlines()


def commands(line: str) -> Iterator[list[str]]:
    """The words after each `modelmill` of a command line."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word not in SEPARATORS:
            words.append(word)
            continue
        if words and Path(words[0]).name == "modelmill":
            yield words[1:]
        words = []


def strings(text: str) -> set[str]:
    return set(re.findall(r'"([^"]*)"', text))


def everywhere(kind: str) -> list[tuple[Path, str]]:
    return [(path, text) for path in PROSE for text in blocks(path, kind)]


SHOWN = [(path, words) for path in PROSE for line in shell_lines(path) for words in commands(line)]
MENTIONED = [
    (path, word)
    for path in PROSE
    for word in re.findall(r"`modelmill ([a-z-]+)[^`]*`", (ROOT / path).read_text("utf-8"))
]
BUILDS = [(path, text) for path, text in everywhere("toml") if "[project]" in text]
LOCAL = [
    (path, text)
    for path, text in BUILDS
    if 'uri = "checkpoint"' in text and not {"imatrix.gguf", "raw"} & strings(text)
]


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_the_reference_says_what_the_code_says(path: Path, request: pytest.FixtureRequest) -> None:
    text = PAGES[path]()
    if request.config.getoption("--update-goldens"):
        (ROOT / path).write_text(text, "utf-8")
    assert (ROOT / path).read_text("utf-8") == text, f"{path} differs; pytest --update-goldens writes it anew"


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    assert f"\n### `{signature_of(name)}`\n" in (ROOT / "docs/reference/plugin-hooks.md").read_text("utf-8")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_suite_in_the_kit_and_a_class_that_tries_it(name: str) -> None:
    hook = name.removeprefix("modelmill_")
    assert hook in suites().values()
    assert hook in {found for found, _ in tried()}


def test_every_suite_of_the_kit_is_documented() -> None:
    text = (ROOT / "docs/how-to/test-a-plugin.md").read_text("utf-8")
    assert [name for name in testing.__all__ if name.endswith("Suite") and f"`{name}`" not in text] == []


def test_there_is_something_to_check() -> None:
    assert len(SHOWN) > 20
    assert len(BUILDS) > 5
    assert "modelmill build" in (ROOT / "README.md").read_text("utf-8").split("```")[1]


@pytest.mark.parametrize(("path", "words"), SHOWN, ids=[f"{path}: {' '.join(words)}" for path, words in SHOWN])
def test_every_command_shown_is_one_that_there_is(path: Path, words: list[str]) -> None:
    command: click.Command = cli.modelmill
    rest = words
    while isinstance(command, click.Group):
        context = click.Context(command)
        found = command.get_command(context, rest[0]) if rest else None
        assert found is not None, f"{path}: modelmill has no command {' '.join(words)!r}"
        command, rest = found, rest[1:]
    for item in command.params:
        if isinstance(item.type, click.Path):
            item.type = click.Path()  # what a page names need not be on this machine
    command.make_parser(click.Context(command)).parse_args(list(rest))
    command.make_context("modelmill", list(rest))


def test_every_command_mentioned_is_one_that_there_is() -> None:
    known = cli.modelmill.list_commands(click.Context(cli.modelmill))
    assert [(str(path), word) for path, word in MENTIONED if word not in known] == []


@pytest.mark.parametrize(("path", "text"), BUILDS, ids=[f"{path}-{n}" for n, (path, _) in enumerate(BUILDS)])
def test_every_build_file_shown_can_be_read(path: Path, text: str) -> None:

    assert config.parse(text, path.with_name("build.toml"), load()).targets != {}


def test_every_key_of_build_toml_is_documented() -> None:
    text = (ROOT / "docs/reference/build-toml.md").read_text("utf-8")
    tables = (records.Project, records.SourceTable, records.TargetTable, records.Sign, records.Policy)
    keys = [name for table in tables for name in table.__dataclass_fields__]
    assert [name for name in keys if f"\n| `{name}` |" not in text] == []
    assert [name for name in (*records.Document.__dataclass_fields__, *load().tables()) if f"[{name}" not in text] == []


def test_every_field_of_a_hardware_profile_is_documented() -> None:
    text = (ROOT / "docs/how-to/add-a-hardware-profile.md").read_text("utf-8")
    assert [name for name, (_, what) in FIELDS.items() if f"| `{name}` | {what} |" not in text] == []


def test_the_hardware_profile_shown_is_one() -> None:
    (shown,) = (text for text in blocks(Path("docs/how-to/add-a-hardware-profile.md"), "toml"))
    generic = (ROOT / "targets/modelmill_targets/generic-arm64.toml").read_text("utf-8")
    profile = load_profile("gateway", {"gateway": shown, "generic-arm64": generic})
    assert profile.fields["memory.budget_mib"] == 3072


def test_the_recipe_shown_is_one() -> None:
    shown = [text for text in blocks(Path("docs/how-to/override-tensor-types.md"), "toml") if "[[rules]]" in text]
    assert [parse_toml(text).extends for text in shown] == ["Q4_K_M"]


def test_the_policy_shown_has_known_keys() -> None:
    shown = [text for text in blocks(Path("docs/how-to/sign-and-verify.md"), "toml") if "builders" in text]
    assert [set(tomllib.loads(text)) - set(PolicyFile.__dataclass_fields__) for text in shown] == [set()]


@pytest.mark.parametrize(("path", "text"), LOCAL, ids=[f"{path}-{n}" for n, (path, _) in enumerate(LOCAL)])
def test_every_build_file_shown_can_be_planned(path: Path, text: str, tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter", make_checkpoint(tmp_path / "checkpoint", "llama"))
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    (tmp_path / "generation.json").write_text(GENERATION)
    (tmp_path / "calibration.txt").write_text("to be or not to be\n" * 100)
    for recipe in (item for item in blocks(path, "toml") if "[[rules]]" in item):
        (tmp_path / "more-bits.toml").write_text(recipe)
    (tmp_path / "build.toml").write_text(text)
    told = follow("modelmill plan --all", Path(sys.executable), tmp_path)
    assert f"{len(tomllib.loads(text)['target'])} target" in told


def test_the_first_build_of_the_tutorial_is_verified(tmp_path: Path) -> None:
    page = Path("docs/tutorial/first-build.md")
    (tmp_path / "make_model.py").write_text(next(blocks(page, "python")))
    (tmp_path / "build.toml").write_text(next(blocks(page, "toml")))
    lines = [line for line in shell_lines(page) if line.startswith(("python make", "modelmill"))]
    lines.remove("modelmill verify dist/tiny/1.0.0")  # it fails, as the page says
    told = [follow(line, Path(sys.executable), tmp_path) for line in lines]
    assert "release tiny 1.0.0: good" in told[-1]
    with pytest.raises(AssertionError, match="no key is trusted"):
        follow("modelmill verify dist/tiny/1.0.0", Path(sys.executable), tmp_path)


@pytest.mark.parametrize("path", PROSE, ids=str)
def test_every_link_into_the_repository_leads_somewhere(path: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall((ROOT / path).read_text("utf-8")) if "://" not in link]
    assert [link for link in targets if link and not (ROOT / path.parent / link).exists()] == []


def follow(line: str, python: Path, folder: Path) -> str:
    """Run one command line of a page with this interpreter; return what it said."""
    program, *words = shlex.split(line)
    command = [str(python), *words] if program == "python" else [str(python), "-m", program, *words]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "MODELMILL_STORE": str(folder / "store"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout
