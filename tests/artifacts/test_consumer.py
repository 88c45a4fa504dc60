"""A deployment system's view: the base package alone, in an environment of its own, verifies and reads a release."""

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmill_signers.pem import PemSigner

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
from modelmill_artifacts import keys
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import verify
imported = time.perf_counter() - began
found = verify(Path(sys.argv[1]), Policy(keys=(keys.read(Path(sys.argv[2])),)))
print(json.dumps({
    "targets": {item.target: item.hardware.profile for item in found.release.artifacts},
    "imported": imported,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("consumer")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "dist", ROOT], check=True)
    (wheel,) = (folder / "dist").iterdir()
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    found = subprocess.run([*pip, "--python", python, "install", wheel], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"pip cannot install the base package's dependencies here: {found.stderr.strip()[-200:]}")
    return python


def test_the_base_package_alone_verifies_and_reads_a_release(
    base_python: Path,
    tmp_path: Path,
    make_release: Callable[..., Path],
    signer: PemSigner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_release(tmp_path / "1.0.0", signer)
    (tmp_path / "release.pub").write_bytes(signer.public_key.pem)
    command: list[str | Path] = [base_python, "-I", "-c", READ, folder, tmp_path / "release.pub"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
    found = min(runs, key=lambda run: float(run["imported"]))
    assert found["targets"] == {"laptop-onnx": "laptop-onnx", "raspberry-pi-5": "raspberry-pi-5"}
    assert {"modelmill", "modelmill_signers", "numpy", "securesystemslib", "click", "pluggy"}.isdisjoint(
        found["modules"]
    )
    (site,) = (base_python.parent.parent / "lib").glob("python*/site-packages")
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    packages = sorted(path.name.partition("-")[0] for path in site.glob("*.dist-info"))
    with capsys.disabled():
        print(f"\nbase install: {size / 1e6:.1f} MB, {', '.join(packages)}; import {found['imported'] * 1e3:.0f} ms")
    assert size < 60e6
