import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def test_every_requirement_of_every_extra_that_tests_install_is_pinned() -> None:
    lines = (ROOT / "tests/constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]) for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    todo = ["all", "test"]
    while todo:
        for text in extras[todo.pop()]:
            requirement = Requirement(text)
            if requirement.name == "modelmill":
                todo += requirement.extras
            else:
                wanted.append(text)
    assert {canonicalize_name(Requirement(text).name) for text in wanted} - pins == set()
