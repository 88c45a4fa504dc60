"""llama.cpp as the judge of a GGUF file: does it load, what does it answer, how well does it predict a text.

All of it runs in a process of llama.cpp's own; see `llama_process`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from reference import llama_process

Given = ParamSpec("Given")
Result = TypeVar("Result")


@cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def isolated(function: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """Call a function of an importable module in llama.cpp's process."""
    return _pool().submit(function, *arguments, **named).result()


@dataclass(frozen=True)
class Model:
    """A GGUF file that llama.cpp has loaded."""

    file: Path

    def tokenize(self, text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        """The token ids that llama.cpp's own tokenizer gives for a text."""
        (ids,) = isolated(llama_process.tokenize, self.file, [text], add_bos=add_bos, special=special)
        return ids

    @property
    def metadata(self) -> dict[str, str]:
        """What llama.cpp reads of the file's metadata, as text."""
        return isolated(llama_process.metadata, self.file)


@contextmanager
def loaded(file: Path) -> Iterator[Model]:
    """The model of a GGUF file, once llama.cpp has loaded it."""
    isolated(llama_process.metadata, file)
    yield Model(file)


def answer(file: Path, question: str, *, tokens: int = 48) -> str:
    """What the model says to one chat message, greedily, through the chat template in the file."""
    return isolated(llama_process.answer, file, question, tokens=tokens)


def tokenize(file: Path, text: str) -> list[int]:
    """The token ids that llama.cpp's own tokenizer gives for a text, without a token of the beginning."""
    return Model(file).tokenize(text.encode(), add_bos=False, special=False)


def logits(file: Path, ids: Sequence[int]) -> Any:
    """The logits after each of these tokens: a float32 array, tokens by vocabulary."""
    return isolated(llama_process.logits, file, list(ids))


def perplexity(file: Path, *, chunks: int = 2, length: int = 512, start: int = 0) -> float:
    """Perplexity on the second halves of chunks of Python's own reference texts, from the character `start` on."""
    return isolated(llama_process.perplexity, file, chunks=chunks, length=length, start=start)
