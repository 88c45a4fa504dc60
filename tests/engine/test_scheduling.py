"""Steps get the memory that there is, all together: what the machine, its control groups and --memory allow."""

from pathlib import Path

import pytest

from modelmill.hardware.cgroup import memory_limit

from .conftest import BUILD, Mill, with_options
from .test_machine_faults import run_within, small_memory

__all__ = ["small_memory"]

TWO = BUILD.replace('scheme = "short"', 'scheme = "upper"\noptions = { repeat = 2, fault = "sleep" }').replace(
    'scheme = "upper"\n\n', 'scheme = "upper"\noptions = { fault = "sleep" }\n\n', 1
)


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/a/b\n", {"memory.max": "900", "a/memory.max": "500", "a/b/memory.max": "max"}, 500),
        ("4:memory:/a\n0::/\n", {"memory/memory.limit_in_bytes": "900", "memory/a/memory.limit_in_bytes": "400"}, 400),
        ("0::/gone\n", {"memory.max": "700"}, 700),
        ("3:cpuset:/a\n", {"memory/a/memory.limit_in_bytes": "1"}, None),
        ("0::/\n", {"memory.max": "max"}, None),
    ],
)
def test_the_smallest_limit_of_the_groups_around_counts(
    tmp_path: Path, lines: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "own").write_text(lines)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert memory_limit(tmp_path / "own", tmp_path / "mount") == limit


def test_a_step_is_refused_with_what_its_control_group_has(mill: Mill, small_memory: Path) -> None:
    mill.write(with_options("memory = 190"))
    done = run_within(small_memory, mill, "build", "plain")
    assert done.code == 2, done.err
    assert "needs about 190 MiB of memory at its peak, and steps may use 180 MiB here" in done.err


def test_a_plan_warns_where_a_build_would_refuse_for_memory(mill: Mill) -> None:
    mill.write(with_options("memory = 9000000"))
    refused = mill.run("build", "plain")
    assert (refused.code, "needs about 9,000,000 MiB of memory at its peak" in refused.err) == (2, True)
    sentence = refused.err.removeprefix("modelmill: ")
    planned = mill.run("plan", "plain")
    assert (planned.code, planned.err) == (0, f"modelmill: warning: {sentence}")
    mill.write(BUILD)
    assert mill.run("plan").err == ""
    told = "needs about 30 MiB of memory at its peak, and steps may use 10 MiB here"
    assert told in mill.run("build", "plain", "--dry-run", "--memory", "10M").err


@pytest.mark.parametrize(("memory", "side_by_side"), [("40M", False), ("80M", True)])
def test_steps_run_side_by_side_only_as_far_as_memory_goes(mill: Mill, memory: str, *, side_by_side: bool) -> None:
    mill.write(TWO)
    done = mill.run("build", "plain", "short", "--jobs", "4", "--memory", memory)
    assert done.code == 0, done.err
    begun = [line.endswith("…") for line in done.err.splitlines() if line.startswith("  shout upper")]
    assert begun == ([True, True, False, False] if side_by_side else [True, False, True, False]), done.err


def test_what_cannot_fit_its_device_is_refused_and_what_hardly_does_is_warned_of(mill: Mill) -> None:
    own = 'inherits = ["bench"]\ndescription = "a small board"\nmemory.budget_mib = {}\n'
    mill.write(BUILD.replace('hardware = "bench"', 'hardware = "board.toml"'))
    mill.write(own.format(20), "board.toml")
    done = mill.run("plan", "plain")
    assert done.code == 2
    assert (
        "on board the model does not fit: it needs 48 MiB (weights 0 MiB, KV cache 0 MiB, overhead 48 MiB)" in done.err
    )
    mill.write(own.format(50), "board.toml")
    done = mill.run("plan", "plain")
    assert (done.code, "target 'plain': on board the model needs 48 MiB" in done.out + done.err) == (0, True)
    mill.write(own.format(500), "board.toml")
    assert "on board" not in mill.run("plan", "plain").err


def test_a_scheme_that_the_device_cannot_run_is_refused_and_a_slow_one_is_warned_of(mill: Mill) -> None:
    own = 'inherits = ["bench"]\ndescription = "a board"\nruntime.horn = {{ fast = ["tiny"], {} = ["upper"] }}\n'
    mill.write(BUILD.replace('hardware = "bench"', 'hardware = "board.toml"'))
    mill.write(own.format("impossible"), "board.toml")
    done = mill.run("plan")
    told = "target 'plain': on board horn cannot run upper; what it runs well there is tiny"
    assert (done.code, done.err) == (2, f"modelmill: {told}\n")
    mill.write(own.format("slow"), "board.toml")
    done = mill.run("plan")
    told = "target 'plain': on board horn runs upper slowly; what it runs well there is tiny"
    assert (done.code, told in done.out + done.err) == (0, True)
    mill.write(own.format("slow") + 'runtime.drum.fast = ["upper"]\n', "board.toml")
    done = mill.run("plan")
    assert "slowly" not in done.out + done.err


def test_a_runtime_that_does_not_load_the_format_has_no_say(mill: Mill) -> None:
    own = 'inherits = ["bench"]\ndescription = "a board"\nruntime.flute.{} = ["upper"]\n'
    mill.write(BUILD.replace('hardware = "bench"', 'hardware = "board.toml"'))
    for word in ("impossible", "slow"):
        mill.write(own.format(word), "board.toml")
        done = mill.run("plan")
        assert (done.code, "flute" in done.out + done.err) == (0, False)
