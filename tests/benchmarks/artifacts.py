"""What describing, signing and verifying cost beside one sha256 pass over the same artifact, and beside model_signing.

    python tests/benchmarks/artifacts.py [--gigabytes 2] [--rounds 3] [--threads 2] [--scratch FOLDER]

Each part runs in a process of its own, in turn, so that imports count and a busy machine slows all parts alike; the
best of the rounds is printed, as wall time and as processor time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelmill_artifacts import tree
from modelmill_artifacts.evidence import Builder, Evidence, Package
from modelmill_artifacts.manifest import HardwareProfile, Manifest, Step, Tool
from modelmill_artifacts.package import describe
from modelmill_signers import create, pem

PARTS = {
    "start": "import sys",
    "sha256, one thread": """
import hashlib, sys
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
""",
    "sha256, in parallel": """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
def digest(path):
    found, buffer = hashlib.sha256(), memoryview(bytearray(1 << 17))  # half of file_digest's buffer: faster here
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            found.update(buffer[:count])
    return found.digest()
files = sorted((path for path in Path(sys.argv[1]).rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(digest, files))
""",
    "describe and sign": """
import json, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[4]).parent))
import time, artifacts
began = time.process_time()
artifacts.describe_again(Path(sys.argv[1]), Path(sys.argv[3]))
Path(sys.argv[3], "described.txt").write_text(str(time.process_time() - began))
""",
    "verify": """
import sys
from pathlib import Path
from modelmill_artifacts import keys
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import verify
folder, threads, scratch, _ = sys.argv[1:]
verify(Path(folder), Policy(keys=(keys.read(Path(scratch, "key.pub")),)), threads=int(threads))
""",
    "model_signing verify": """
import sys
from model_signing._cli import main
folder, _, scratch, _ = sys.argv[1:]
main(["verify", "key", folder, "--public_key", scratch + "/key.pub", "--signature", folder + "/model.sig",
      "--no-ignore-git-paths"])
""",
}
DESCRIPTIONS = ("sbom.cdx.json", "artifact.json", "provenance.sigstore.json", "model.sig")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scratch", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        folder = _make(Path(scratch), int(asked.gigabytes * 1e9))
        figures = _measure(folder, Path(scratch), asked.rounds, asked.threads)
        work = float(Path(scratch, "described.txt").read_text())
    for name, (wall, processor) in figures.items():
        print(f"{name:24} {wall:8.2f} s wall {processor:8.2f} s processor")
    started = figures["describe and sign"][1] - figures["start"][1]
    print(f"describe and sign: {started:.2f} s processor in a process that has to import everything first")
    print(f"of that the work itself: {work:.3f} s, {work / figures['sha256, one thread'][1]:.1%} of one sha256 pass")
    for index, what in enumerate(("wall", "processor")):
        plain, ours, theirs = (
            figures[name][index] for name in ("sha256, in parallel", "verify", "model_signing verify")
        )
        print(f"verify, {what}: {ours / plain:.2f} x a parallel sha256 pass; model_signing {theirs / plain:.2f} x")


def _make(scratch: Path, size: int) -> Path:
    """An artifact as ONNX folders are: weights in two files, and a dozen small ones; signed."""
    folder = scratch / "artifact"
    folder.mkdir()
    block = os.urandom(1 << 24)
    for name, share in (("model.onnx.data", 0.6), ("embedding.onnx.data", 0.4)):
        with (folder / name).open("wb") as file:
            for _ in range(int(size * share) // len(block) + 1):
                file.write(block)
    for number in range(12):
        (folder / f"tokenizer-{number}.json").write_bytes(block[: 1 << 16])
    known = {file.path: file.sha256 for file in tree.files(folder)}
    (scratch / "known.json").write_text(json.dumps(known))
    create.new(scratch / "key.pem")
    describe_again(folder, scratch)
    return folder


def describe_again(folder: Path, scratch: Path) -> None:
    """Describe and sign a folder as a build does it: all digests are known, the tools are those of an environment."""
    for name in DESCRIPTIONS:
        (folder / name).unlink(missing_ok=True)
    packages = tuple(Package(name=f"package-{n}", version="1.0", licence="MIT", sha256="0" * 64) for n in range(60))
    step = Step(
        key="a" * 64,
        name="huggingface-to-onnx",
        plugin="modelmill",
        plugin_version="0.1.0",
        scheme="int4",
        options={"block_size": 32},
        tools=(Tool(name="package-0", version="1.0"),),
    )
    facts = Manifest(
        name="benchmark",
        version="1",
        target="laptop",
        format="onnx",
        scheme="int4",
        architecture="llama",
        parameters=1,
        bits_per_weight=4.5,
        licence="Apache-2.0",
        hardware=HardwareProfile(profile="x86-64-v3", requires={"os.arch": "amd64"}),
        files=(),
        sources=(),
        steps=(step,),
    )
    made = Evidence(
        target={},
        builders=(Builder(name="modelmill", distribution="modelmill", version="0.1.0", sha256="0" * 64),),
        packages=packages,
    )
    known = json.loads((scratch / "known.json").read_text())
    describe(folder, facts, made, pem.open_file(scratch / "key.pem"), known)


def _measure(folder: Path, scratch: Path, rounds: int, threads: int) -> dict[str, tuple[float, float]]:
    """The least wall and processor seconds of each part; every part sees the same files in the page cache."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, code in PARTS.items():
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            command = [
                sys.executable,
                "-c",
                code,
                str(folder),
                str(threads),
                str(scratch),
                str(Path(__file__).resolve()),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            least = best.get(name, (wall, processor))
            best[name] = (min(wall, least[0]), min(processor, least[1]))
    return best


if __name__ == "__main__":
    main()
