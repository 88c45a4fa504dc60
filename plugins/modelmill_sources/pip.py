"""Fetching one wheel with the machine's own pip."""

import re
import subprocess
import sys
from pathlib import Path

from modelmill import SourceError

_VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")
_UNREACHABLE = ("Retrying (", "NewConnectionError", "Max retries exceeded", "Temporary failure in name resolution")
_SECRET = re.compile(r"//[^/@\s]+@")


def download(name: str, version: str, folder: Path, sha256: str | None = None) -> Path:
    """The wheel of a package, fetched into `folder`: with a digest the one that has it, else the one that pip prefers.

    Only a wheel will do: making one from a source archive would run the package's code. SourceError says
    whether package, version, network or pip itself is missing.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    if sha256 is None:
        command += ["--", f"{name}=={version}"]
    else:  # pip takes digests in a file alone
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        command += ["--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise SourceError(f"pypi:{name}=={version}: {reason(done.stderr)}")


def reason(log: str) -> str:
    """Why pip failed, as half a sentence, from what it wrote; no password of an index's address is repeated."""
    if "No module named pip" in log:
        return f"pip is missing from {sys.executable}; install it with `python -m ensurepip`"
    if any(sign in log for sign in _UNREACHABLE):
        return "the package index cannot be reached; check the network and pip's configuration"
    match = _VERSIONS.search(log)
    if match and match[1].strip() not in ("", "none"):
        return f"the index has no wheel of this version; it has {match[1].strip()}"
    if "No matching distribution found" in log:
        return "the index has no wheel of a package of this name; check its spelling"
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    last = _SECRET.sub("//", errors[-1]) if errors else "it said nothing"
    return f"pip could not fetch it: {last}"
