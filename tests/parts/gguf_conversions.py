"""Checkpoints for the tests of the conversion into GGUF, and the conversion itself without an engine."""

import json
import os
import pydoc_data.topics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts, Job, Limits, Outlook
from modelmill.checkpoint import facts
from modelmill.testing import Shape, make_checkpoint
from modelmill_gguf import offers
from modelmill_gguf.fields import Field
from modelmill_gguf.header import read_header
from modelmill_gguf.options import ConvertOptions

# What llama.cpp's script takes from the name of a folder, which says nothing about a model.
PROVENANCE = {"general.name", "general.basename", "general.finetune", "general.version", "general.organization"}

# What tokenizers have got wrong: code, contractions, digits, CJK, emoji, runs of white space, special tokens in text.
NASTY = (
    "The quick brown fox, jumps over the lazy dog's back!",
    "def f(x):\n\tif x  >= 10:\n        return  x**2  # comment\n\n\n",
    "I've can't WE'LL they're 'Tis O'Brien's",
    "1 12 123 1234 12345 3.14159 1,000,000 0xFF",
    "日本語のテキストと中文文本\uff0c한국어도.",
    "🚀 👩‍👩‍👧‍👦 é e\u0301 ﬁ ½ ²",
    "   leading, trailing   ",
    "\t\ttabs\r\nand\r\n\r\nlines \n \n  ",
    "<|im_start|>user\nhi<|im_end|> <s> </s> <bos>x<eos> <|begin_of_text|>",
    "",
    " ",
    "a",
)
TOPICS = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))

LLAMA3_ROPE = {
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}
LINEAR_ROPE = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
YARN_ROPE = {"rope_scaling": YARN}
# All that yarn can be told, as llama.cpp computes it anyway; extrapolation_factor is llama.cpp's script's alone.
TOLD_YARN = {
    "rope_scaling": {
        **YARN,
        "attention_factor": 1.138629436,
        "beta_fast": 32,
        "beta_slow": 1,
        "extrapolation_factor": 0.5,
    }
}
# The layout that transformers writes since version 5: one table, or one for each kind of layer.
FLAT_ROPE = {
    "rope_theta": None,
    "rope_scaling": None,
    "rope_parameters": {"rope_theta": 500_000.0, **LLAMA3_ROPE["rope_scaling"]},  # type: ignore[dict-item]
}
NESTED_ROPE = {
    "rope_theta": None,
    "rope_scaling": None,
    "rope_local_base_freq": None,
    "rope_parameters": {
        "full_attention": {"rope_theta": 500_000.0, "rope_type": "linear", "factor": 8.0},
        "sliding_attention": {"rope_theta": 20_000.0, "rope_type": "default"},
    },
}
# Phi-4-mini: three quarters of each head turn, and the output is the embedding.
PHI_4 = {
    "original_max_position_embeddings": 1024,
    "max_position_embeddings": 4096,
    "partial_rotary_factor": 0.75,
    "tie_word_embeddings": True,
    "rope_scaling": {
        "rope_type": "longrope",
        "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
        "long_factor": [2.0, 2.1, 2.2, 2.3, 2.4, 2.5],
    },
}
LONG_FACTORS = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
    "long_factor": [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7],
}
LONG_ROPE = {
    "original_max_position_embeddings": 1024,
    "max_position_embeddings": 4096,
    "rope_scaling": LONG_FACTORS,
}
# A context of 96 tokens is beyond what this one was trained for, so that the long factors turn it.
BEYOND_ROPE = {**LONG_ROPE, "original_max_position_embeddings": 64, "max_position_embeddings": 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tiny checkpoint, and the scheme that it is converted to; `silent` are keys that its config.json lacks."""

    architecture: str
    dtype: str = "BF16"
    scheme: str = "BF16"
    shards: int = 1
    layers: int = 2
    head: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    tokenizer: str | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """A name for files and for the test's id; llama.cpp's script finds no version or size in it."""
        parts = (self.architecture, self.label, self.dtype, "to", self.scheme, f"in{self.shards}")
        return "_".join(part for part in parts if part).lower()

    def make(self, folder: Path) -> Path:
        """Write the checkpoint."""
        made = make_checkpoint(
            folder / self.name,
            self.architecture,
            shape=Shape(layers=self.layers, head_width=self.head),
            dtype=self.dtype,
            shards=self.shards,
            config=self.config,
            tokenizer=self.tokenizer,
        )
        config = json.loads((made / "config.json").read_text())
        for key in self.silent:
            del config[key]
        (made / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
        return made


def outlook(source: Path, scheme: str | None, options: ConvertOptions) -> Outlook[ConvertOptions]:
    """What the engine knows before the conversion."""
    return Outlook(facts=facts(source), scheme=scheme, options=options)


def predicted(source: Path, scheme: str | None = None, options: ConvertOptions | None = None) -> Facts:
    """The facts that the converter predicts; a refusal becomes the error that the engine would show."""
    result = offers.FROM_HUGGINGFACE.infer(outlook(source, scheme, options or ConvertOptions()))
    if not isinstance(result, Facts):
        raise ConvertError(result.reason)
    return result


def convert(source: Path, out: Path, scheme: str, options: ConvertOptions | None = None) -> Path:
    """Run the converter as a step does, and return its output folder."""
    out.mkdir(parents=True)
    scratch = out.with_name(out.name + "-scratch")
    limits = Limits(threads=1, scratch=scratch)
    job = Job(
        source=source,
        inputs={},
        out=out,
        scheme=scheme,
        options=options or ConvertOptions(),
        hardware=None,
        limits=limits,
    )
    offers.FROM_HUGGINGFACE.run(job)
    return out


def reference(sources: Path, runs: Iterable[tuple[Path, Path, str, str | None]]) -> None:
    """Run llama.cpp's own script: checkpoint, output, scheme, and the pre-tokenizer that it cannot recognise."""
    wanted = [
        {"model": str(model), "out": str(out), "type": scheme.lower(), "pre": pre} for model, out, scheme, pre in runs
    ]
    script = Path(__file__).with_name("llama_cpp_converter.py")
    subprocess.run(
        [sys.executable, str(script), json.dumps(wanted)],
        cwd=sources / "vendor" / "llama.cpp",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=True,
        capture_output=True,
        timeout=600,
    )


def comparable_fields(path: Path) -> dict[str, Field]:
    """A file's metadata without what comes from a folder's name."""
    return {key: entry for key, entry in read_header(path).fields.items() if key not in PROVENANCE}


def tensor_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """A file's tensors in order: type, shape and bytes by name."""
    with path.open("rb") as file:
        found = {}
        for info in read_header(path).tensors:
            file.seek(info.offset)
            found[info.name] = (info.kind, info.shape, file.read(info.size))
        return found
