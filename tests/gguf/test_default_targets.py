"""The targets of the root build file that need llama.cpp: planned here, since building them takes minutes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reference import cache

ROOT = Path(__file__).parents[2]
TARGETS = {"desktop-q5": "Q5_K_M", "desktop-iq4": "IQ4_XS", "raspberry-pi-5-q2": "Q2_K"}

pytestmark = pytest.mark.real


def test_they_share_one_importance_matrix_and_are_not_built_by_default(tmp_path: Path) -> None:
    for name in ("build.toml", "build.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "examples" / "calibration", tmp_path / "examples" / "calibration")
    environment = {**os.environ, "MODELMILL_STORE": str(cache.folder() / "store")}
    plans = []
    for names in ((), TARGETS):
        command = [sys.executable, "-m", "modelmill", "plan", "--json", *names]
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        plans.append(json.loads(done.stdout))
    default, asked = plans
    assert not TARGETS.keys() & {target["name"] for target in default["targets"]}
    assert {target["name"] for target in asked["targets"]} == TARGETS.keys()
    made = [step for step in asked["steps"] if step["name"] == "gguf-to-imatrix"]
    assert len(made) == 1
    last = {step["key"]: step for step in asked["steps"]}
    for target in asked["targets"]:
        assert last[target["steps"][-1]]["scheme"] == TARGETS[target["name"]]
