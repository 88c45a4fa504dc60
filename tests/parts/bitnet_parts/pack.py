"""One conversion in a process of its own: `python -m bitnet_parts.pack SOURCE OUT SCHEME THREADS`."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from modelmill import Hardware, Job, Limits
from modelmill_bitnet.offers import TO_BITNET_CPP, TO_GGUF


def main() -> None:
    """Convert."""
    source, out, scheme, threads = sys.argv[1:]
    Path(out).mkdir()
    i2_s = scheme == "I2_S"
    with tempfile.TemporaryDirectory() as scratch:
        values: dict[str, Any] = {
            "source": Path(source),
            "inputs": {},
            "out": Path(out),
            "scheme": scheme,
            "limits": Limits(threads=int(threads), scratch=Path(scratch)),
        }
        if i2_s:
            hardware = Hardware(fields={"os.arch": "amd64"})
            TO_BITNET_CPP.run(Job(**values, options=TO_BITNET_CPP.options(), hardware=hardware))
        else:
            TO_GGUF.run(Job(**values, options=TO_GGUF.options(), hardware=None))


if __name__ == "__main__":
    main()
