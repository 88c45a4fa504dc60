"""Perplexity and bytes of one checkpoint in ONNX, for the source, by torch too, and every way to int4.

    python tests/benchmarks/onnx_perplexity.py CHECKPOINT [--only rtn mse gptq …] [--chunks 6] [--scratch FOLDER]

The text is CPython's own `pydoc_data.topics`, in chunks of 512 tokens, each scored on its second half. The
calibration text is the docstrings of the standard library's modules, which share no page with it.
"""

import argparse
import ast
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "parts"))

from onnx_parts.folders import build, quantize
from onnx_parts.perplexity import by_onnx_runtime, by_torch, perplexity, tokens

from modelmill.recipe import Recipe

HEAD = Recipe.parse({"rules": [{"type": "int8", "tensors": ["lm_head"]}]})
WAYS: dict[str, dict[str, Any]] = {
    "rtn-symmetric": {"algorithm": "rtn", "symmetric": True},
    "rtn": {"algorithm": "rtn"},
    "k_quant": {"algorithm": "k_quant"},
    "hqq": {"algorithm": "hqq"},
    "importance-symmetric": {"algorithm": "importance", "symmetric": True},
    "importance": {"algorithm": "importance"},
    "importance-text-symmetric": {"algorithm": "importance", "symmetric": True, "text": True},
    "importance-text": {"algorithm": "importance", "text": True},
    "importance-64-head-int8": {"algorithm": "importance", "recipe": HEAD, "block_size": 64},
    "mse-symmetric": {"algorithm": "mse", "symmetric": True},
    "mse": {"algorithm": "mse"},
    "mse-head-int8": {"algorithm": "mse", "recipe": HEAD},
    "rtn-head-int8": {"algorithm": "rtn", "recipe": HEAD},
    "rtn-64-head-int8": {"algorithm": "rtn", "recipe": HEAD, "block_size": 64},
    "gptq-symmetric": {"algorithm": "gptq", "symmetric": True, "text": True},
    "gptq": {"algorithm": "gptq", "text": True},
    "gptq-head-int8": {"algorithm": "gptq", "recipe": HEAD, "text": True},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--only", nargs="+", choices=["torch", "fp32", "int4-builder", *WAYS])
    parser.add_argument("--chunks", type=int, default=6)
    parser.add_argument("--calibration-chunks", type=int, default=16)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        calibration = docstrings(scratch / "calibration")
        source = build(arguments.checkpoint.resolve(), scratch / "fp32", threads=2)
        ids = tokens(source, arguments.chunks)
        for way in arguments.only or ["torch", "fp32", "int4-builder", *WAYS]:
            if way == "torch":
                score = perplexity(by_torch(arguments.checkpoint.resolve()), ids)
                print(f"{way:>26} {'':12}        perplexity {score:8.3f}", flush=True)
                continue
            made = source
            if way == "int4-builder":
                made = build(arguments.checkpoint.resolve(), scratch / way, way, threads=2)
            elif way != "fp32":
                options = dict(WAYS[way])
                if options.pop("text", False):
                    options |= {"calibration": calibration, "calibration_chunks": arguments.calibration_chunks}
                made = quantize(source, scratch / way, threads=2, **options)
            size = sum(path.stat().st_size for path in made.iterdir())
            print(f"{way:>26} {size:12,} bytes  perplexity {perplexity(by_onnx_runtime(made), ids):8.3f}", flush=True)
            if way != "fp32":
                shutil.rmtree(made)


def docstrings(folder: Path) -> Path:
    """The calibration text: every longer docstring of the standard library's top-level modules."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    documented = [node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    found = [ast.get_docstring(node) or "" for node in documented]
    folder.mkdir()
    (folder / "docstrings.txt").write_text("\n\n".join(text for text in found if len(text) > 200))
    return folder


if __name__ == "__main__":
    main()
