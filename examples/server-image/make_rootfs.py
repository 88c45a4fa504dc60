"""Debian packages → one tar with the files of a small system: Python, and what llama.cpp needs.

No daemon, no chroot and no package script takes part: the packages' files are put together as they are. The same
packages give the same bytes. Usage: make_rootfs.py OUT.tar
"""

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGES = (
    "base-files",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgomp1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libstdc++6",
    "python3-minimal",
    "python3.11-minimal",
    "zlib1g",
)
NOT_NEEDED = ("usr/share/man/", "usr/share/doc-base/", "usr/share/lintian/", "usr/share/bug/", "var/", "boot/", "home/")
OWN = {
    "etc/passwd": b"root:x:0:0:root:/root:/usr/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin\n",
    "etc/group": b"root:x:0:\nnonroot:x:65532:\n",
}


def download(folder: Path) -> list[Path]:
    """The packages' files, fetched by apt as this machine is configured."""
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *PACKAGES], cwd=folder, check=True)
    return sorted(folder.glob("*.deb"))


def collect(archives: list[Path]) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Every file, folder and link of the packages by its path; documentation but for licences is left out."""
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for archive in archives:
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                path = member.name.removeprefix("./").rstrip("/")
                licence = path.endswith("/copyright")
                if not path or path.startswith(NOT_NEEDED) or (path.startswith("usr/share/doc/") and not licence):
                    continue
                file = tar.extractfile(member) if member.isfile() else None
                found[path] = member, file.read() if file else b""
    return found


def write(out: Path, found: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    """One plain tar in the order of paths, without times and owners."""
    for path, data in OWN.items():
        found[path] = tarfile.TarInfo(path), data
    for path in ("tmp", "proc", "sys", "dev"):
        folder = tarfile.TarInfo(path)
        folder.type = tarfile.DIRTYPE
        found[path] = folder, b""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(found):
            member, data = found[path]
            plain = tarfile.TarInfo(path)
            plain.type, plain.linkname = member.type, member.linkname
            if member.islnk():
                plain.linkname = member.linkname.removeprefix("./")
            plain.size = len(data)
            plain.mode = 0o1777 if path == "tmp" else 0o755 if member.isdir() or member.mode & 0o111 else 0o644
            tar.addfile(plain, io.BytesIO(data))


def main(out: Path) -> None:
    """Write the tar."""
    with tempfile.TemporaryDirectory() as scratch:
        write(out, collect(download(Path(scratch))))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
