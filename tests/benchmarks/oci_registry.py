"""Push, pull and lay out 1.5 GB beside skopeo, in one run on one machine: seconds and peak memory.

Usage: python tests/benchmarks/oci_registry.py [MEGABYTES]
Prints one line for each measurement and fails where ours is slower, or takes 100 MB or more. On a disk that is slower
than a registry, MODELMILL_BENCHMARK_FOLDER=/dev/shm measures the clients instead of the disk.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "parts"))

from oci_parts.programs import program
from oci_parts.registries import registry_server
from oci_parts.releases import write_release

OURS = """
import sys
from pathlib import Path
import modelmill_oci
from modelmill import Publication, PullJob, PackageJob
from modelmill_oci.access import Access
(remote,) = modelmill_oci.modelmill_remotes()
verb, where, folder, scratch = sys.argv[1:]
if verb == "push":
    print(remote.publish(Publication(release=Path(folder), reference=where, options=Access())))
elif verb == "pull":
    print(remote.pull(PullJob(reference=where, output=Path(folder), scratch=Path(scratch), options=Access(),
                              verify=lambda *_: None, target="laptop")))
else:
    packager = next(item for item in modelmill_oci.modelmill_packagers() if item.name == "modelpack")
    packager.package(PackageJob(artifact=Path(folder), out=Path(scratch), options=packager.options()))
"""


def measure(*command: object) -> tuple[float, int, float]:
    """Seconds, peak bytes (at least this process's own) and CPU seconds of a child process."""
    start = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - start, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def report(what: str, name: str, measured: tuple[float, int, float], size: int) -> None:
    seconds, memory, work = measured
    rate = f"{size / seconds / 1e6:6.0f} MB/s"
    print(f"{what:8} {name:10} {seconds:7.2f} s {rate} {work:6.2f} CPU s {memory / 1e6:5.0f} MB", flush=True)


def lay_out(release: Path, weight: Path, folder: Path) -> float:
    """Measure the ModelPack layout of an artifact; the part of a copy's time that it takes."""
    (folder / "layout").mkdir()
    size = weight.stat().st_size
    ours = measure(sys.executable, "-c", OURS, "layout", "-", release / "laptop", folder / "layout")
    start = measure(sys.executable, "-c", "import modelmill_oci.package, modelmill")
    os.sync()
    copy = measure("cp", "--reflink=never", weight, folder / "copy")
    (folder / "copy").unlink()
    report("layout", "modelmill", ours, size)
    report("start", "python", start, size)
    report("copy", "cp", copy, size)
    return max(0.0, ours[0] - start[0]) / copy[0]


def transfer(tool: str, release: Path, folder: Path, size: int) -> tuple[float, float, int]:
    """Push to a fresh registry and pull back: seconds of both, and the larger peak memory."""
    out, layout = folder / "out", f"oci:{folder}/layout:1.0.0-laptop"
    skopeo = [program("skopeo"), "--insecure-policy", "--override-arch", "amd64", "copy"]
    with registry_server(folder / "registry") as server:
        where = f"{server.host}/bench/m"
        commands: dict[str, list[object]] = {
            "push skopeo": [*skopeo, "--dest-tls-verify=false", layout, f"docker://{where}:1"],
            "pull skopeo": [*skopeo, "--src-tls-verify=false", f"docker://{where}:1", f"dir:{out}"],
            "push modelmill": [sys.executable, "-c", OURS, "push", f"{where}:1", release, "-"],
            "pull modelmill": [sys.executable, "-c", OURS, "pull", f"{where}:1", out, folder / "scratch"],
        }
        measured = []
        for verb in ("push", "pull"):
            os.sync()
            measured.append(measure(*commands[f"{verb} {tool}"]))
            report(verb, tool, measured[-1], size)
    for name in ("registry", "out", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return measured[0][0], measured[1][0], max(peak for _, peak, _ in measured)


def main(megabytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("MODELMILL_BENCHMARK_FOLDER")) as text:
        folder = Path(text)
        weight = folder / "weights"
        with weight.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1_000_000))
        release = write_release(folder / "dist" / "1.0.0", None, weights={"laptop": weight})
        part = lay_out(release, weight, folder)
        order = ("skopeo", "modelmill", "modelmill", "skopeo")
        seen = [(tool, transfer(tool, release, folder, weight.stat().st_size)) for tool in order]
    best = {
        (tool, verb): min(measured[place] for name, measured in seen if name == tool)
        for tool in ("skopeo", "modelmill")
        for place, verb in enumerate(("push", "pull"))
    }
    slower = [verb for verb in ("push", "pull") if best["modelmill", verb] > best["skopeo", verb]]
    memory = max(measured[2] for tool, measured in seen if tool == "modelmill")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"layout: {part:.1%} of a copy; peak memory: {memory / 1e6:.0f} MB; slower than skopeo: {slower or 'nothing'}"
    )
    sys.exit(bool(slower) or memory >= 100_000_000 or part >= 0.03)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1500)
