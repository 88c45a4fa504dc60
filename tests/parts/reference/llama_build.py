"""A llama-cpp-python wheel with its own llama.cpp inside, built once and kept.

Its own build makes llama.cpp's tools too, and for the very processor that it runs on. Where a virtual machine
advertises AMX without providing it, such a build crashes on the first quantized prompt; and it takes twice as
long. So llama.cpp is built here, portable and without tools, and the Python package around it.

    python -m reference.llama_build
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from reference import cache

VERSION = "0.3.36"
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DGGML_NATIVE=OFF",
    "-DLLAMA_BUILD_COMMON=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",  # a wheel holds no symbolic links
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
)


def sources() -> Path:
    """The unpacked source distribution, which also holds the reference converter (`vendor/llama.cpp`)."""

    def unpack(out: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            only_source = ("--no-binary", "llama-cpp-python")
            archive = cache.download(f"llama-cpp-python=={VERSION}", Path(scratch), *only_source)
            with tarfile.open(archive) as tar:
                tar.extractall(out, filter="data")

    return next(cache.made(f"llama-cpp-python-{VERSION}-sources", unpack).iterdir())


def wheel() -> Path:
    """The wheel for this machine."""
    return next(cache.made(f"llama-cpp-python-{VERSION}-wheel", _build).glob("*.whl"))


def _build(out: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "package"
        shutil.copytree(sources(), package, symlinks=True)
        environment = _with_build_tools(Path(scratch) / "tools")
        built = Path(scratch) / "build"
        cmake = ["cmake", "-G", "Ninja", "-S", str(package / "vendor/llama.cpp"), "-B", str(built), *FLAGS]
        _run(cmake, environment)
        _run(["ninja", "-C", str(built), "llama"], environment)
        (package / ".gitignore").unlink(missing_ok=True)  # it would keep `lib` out of the wheel
        shutil.copytree(built / "bin", package / "llama_cpp" / "lib")
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--wheel-dir", str(out), str(package)], environment | {"CMAKE_ARGS": "-DLLAMA_BUILD=OFF"})


def _with_build_tools(folder: Path) -> dict[str, str]:
    """This process's environment, with CMake and Ninja on its path and a word where the compiler is missing."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        sys.exit(
            "The tests load models with llama.cpp, and there is no C++ compiler to build it: install g++ or clang."
        )
    missing = [name for name in ("cmake", "ninja") if not shutil.which(name)]
    environment = dict(os.environ)
    if missing:
        _run([sys.executable, "-m", "venv", str(folder)], environment)
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *missing], environment)
        environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    sys.stdout.write(f"{wheel()}\n")
