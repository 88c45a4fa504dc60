"""Write a tiny BitNet checkpoint beside this file and build every target of build.toml: `python make.py`."""

import shutil
import subprocess
import sys
from pathlib import Path

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint

HERE = Path(__file__).parent


def main() -> None:
    checkpoint = HERE / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    # SiLU: what llama.cpp computes. With "relu2", as BitNet b1.58 2B4T has it, the two llama targets are refused.
    make_checkpoint(checkpoint, "bitnet", shape=Shape(hidden=256, intermediate=512), config={"hidden_act": "silu"})
    command = [sys.executable, "-m", "modelmill", "build", "--file", str(HERE / "build.toml"), *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
