"""What runs in the process that llama.cpp has to itself.

llama.cpp brings a ggml of its own; beside another one in the same process (libggml-python's) it has crashed.
"""

import ctypes
import math
import pydoc_data.topics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

THREADS = 2


@contextmanager
def loaded(file: Path, *, context: int = 512, every_logit: bool = False) -> Iterator[Any]:
    """The model of a GGUF file as a `llama_cpp.Llama`, released afterwards.

    Repacked weights (`use_extra_bufts`) are off: they use AMX, which a virtual machine may advertise and not have.
    """
    from llama_cpp import Llama, llama_cpp

    _quiet()
    default = llama_cpp.llama_model_default_params

    def portable() -> Any:
        parameters = default()
        parameters.use_extra_bufts = False
        return parameters

    with mock.patch.object(llama_cpp, "llama_model_default_params", portable):
        model = Llama(
            str(file),
            n_ctx=context,
            n_batch=context,
            n_threads=THREADS,
            n_threads_batch=THREADS,
            logits_all=every_logit,
            verbose=False,
        )
    try:
        yield model
    finally:
        model.close()


def answer(file: Path, question: str, *, tokens: int = 48) -> str:
    """What the model says to one chat message, greedily, through the chat template in the file."""
    with loaded(file) as model:
        reply = model.create_chat_completion(
            [{"role": "user", "content": question}], max_tokens=tokens, temperature=0, repeat_penalty=1.0
        )
    text: str = reply["choices"][0]["message"]["content"]
    return text


def tokenize(file: Path, texts: Sequence[bytes], *, add_bos: bool, special: bool) -> list[list[int]]:
    """The token ids that llama.cpp's own tokenizer gives for texts."""
    with loaded(file) as model:
        return [model.tokenize(text, add_bos=add_bos, special=special) for text in texts]


def metadata(file: Path) -> dict[str, str]:
    """What llama.cpp reads of a file's metadata, as text."""
    with loaded(file) as model:
        return dict(model.metadata)


def logits(file: Path, ids: Sequence[int]) -> Any:
    """The logits after each of these tokens: a float32 array, tokens by vocabulary."""
    with loaded(file, context=max(32, len(ids)), every_logit=True) as model:
        model.eval(list(ids))
        return model.scores[: len(ids)].copy()


def perplexity(file: Path, *, chunks: int = 2, length: int = 512, start: int = 0) -> float:
    """Perplexity on the second halves of chunks of Python's own reference texts, from the character `start` on."""
    import numpy as np

    text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    total, count = 0.0, 0
    with loaded(file, context=length, every_logit=True) as model:
        ids = model.tokenize(text[start : start + chunks * length * 8].encode(), add_bos=False, special=False)
        first = [model.token_bos()] if model.metadata.get("tokenizer.ggml.add_bos_token") == "true" else []
        for at in range(0, chunks * length, length):
            chunk = [*first, *ids[at : at + length]][:length]
            model.reset()
            model.eval(chunk)
            scores = model.scores[length // 2 - 1 : length - 1].astype(np.float64)
            wanted = np.array(chunk[length // 2 :])
            largest = scores.max(axis=1)
            norm = largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1))
            total += float((norm - scores[np.arange(len(wanted)), wanted]).sum())
            count += len(wanted)
    return math.exp(total / count)


@cache
def _quiet() -> object:
    """Turn off llama.cpp's log; the callback is kept, since llama.cpp goes on calling it."""
    from llama_cpp import llama_cpp

    callback = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback
