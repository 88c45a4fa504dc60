"""Running a model with llama.cpp and listening to its matrix products.

llama-cpp-python's low-level interface is used, because its `Llama` class neither passes evaluation callbacks on nor
lets the repacked weights be turned off, which use AMX even where a virtual machine only claims to have it.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError

_F32 = 0
_SOURCES = 10  # GGML_MAX_SRC
_SPECIAL = 512  # room for a few tokens more than the text has bytes
_SILENT = llama_cpp.llama_log_callback(lambda *_: None)
"""Kept as long as the process: llama.cpp goes on calling it after a model is freed."""
_NO_FLASH_ATTENTION = 0


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h, up to the name."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * _SOURCES),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix `weight` and the float32 rows it is multiplied with.

    For a stack of experts `inputs` is by token, slot and column, and `chosen` by token and slot.
    """

    weight: str
    experts: int
    inputs: NDArray[np.float32]
    chosen: NDArray[np.int32] | None


def run_text(  # each says one thing about the run
    path: Path,
    text: str,
    *,
    context: int,
    chunks: int | None,
    threads: int,
    listener: Callable[[Product], None],
) -> int:
    """Run a model over a text in chunks of `context` tokens, and return their number.

    The listener gets every product of a layer's matrix. Raises ConvertError where llama.cpp cannot run the model
    or the text has fewer than two chunks.
    """
    errors: list[Exception] = []
    names = _operations()
    listen = partial(_listen, names=names, listener=listener, errors=errors)
    callback = llama_cpp.ggml_backend_sched_eval_callback(listen)
    with _loaded(path) as model, _context(model, context, threads, callback) as running:
        tokens = _tokenize(model, text)
        count = len(tokens) // context
        if count < 2:  # noqa: PLR2004  # llama.cpp's own limit
            raise ConvertError(
                f"The calibration text has {len(tokens)} tokens, and two chunks of {context} need {2 * context}."
            )
        count = count if chunks is None else min(count, chunks)
        for number in range(count):
            _decode(model, running, tokens[number * context : (number + 1) * context])
            if errors:
                raise ConvertError(f"Listening to the model failed: {errors[0]}") from errors[0]
    return count


def _operations() -> dict[int, str]:
    """The numbers of the two operations that multiply weights, which differ between versions of ggml."""
    library = llama_cpp.llama_cpp._lib  # noqa: SLF001  # the one handle that leads to ggml's own functions
    library.ggml_op_name.restype = ctypes.c_char_p
    library.ggml_op_name.argtypes = (ctypes.c_int,)
    found = {number: library.ggml_op_name(number).decode() for number in range(1, 60)}
    return {number: name for number, name in found.items() if name in ("MUL_MAT", "MUL_MAT_ID")}


def _listen(
    address: int,
    ask: bool,  # noqa: FBT001
    _: Any,
    *,
    names: dict[int, str],
    listener: Callable[[Product], None],
    errors: list[Exception],
) -> bool:
    """Asked first whether a node is of interest, and told of it then; an exception must not cross into C."""
    try:
        node = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
        wanted = _is_of_interest(node, names)
        if wanted and not ask:
            listener(_product(node, names[node.op]))
    except Exception as error:  # noqa: BLE001
        errors.append(error)
        return False
    return wanted if ask else True


def _is_of_interest(node: Any, names: dict[int, str]) -> bool:
    if node.op not in names:
        return False
    weight, inputs = node.src[0].contents, node.src[1].contents
    return bool(weight.name.startswith(b"blk.") and inputs.type == _F32)


def _product(node: Any, operation: str) -> Product:
    weight, inputs = node.src[0].contents, node.src[1].contents
    values = _array(inputs, np.float32)
    chosen = None
    if operation == "MUL_MAT_ID":
        chosen = _array(node.src[2].contents, np.int32)[0, 0]
        values = values[0]
    return Product(weight=weight.name.decode(), experts=int(weight.ne[2]), inputs=values, chosen=chosen)


def _array(tensor: Any, kind: Any) -> NDArray[Any]:
    """The tensor's values, row-major, without a copy; valid while the callback runs."""
    size = tensor.nb[3] * tensor.ne[3]
    raw = (ctypes.c_uint8 * size).from_address(tensor.data)
    shape = tuple(int(count) for count in reversed(list(tensor.ne)))
    strides = tuple(int(count) for count in reversed(list(tensor.nb)))
    return np.ndarray(shape, kind, buffer=raw, strides=strides)


@contextmanager
def _loaded(path: Path) -> Iterator[Any]:
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts = 0, False
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ConvertError(f"llama.cpp cannot load {path.name}; its version may not know this architecture.")
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


@contextmanager
def _context(model: Any, context: int, threads: int, callback: Any) -> Iterator[Any]:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = context
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = _NO_FLASH_ATTENTION
    params.offload_kqv = params.op_offload = False
    params.cb_eval, params.cb_eval_user_data = callback, None
    running = llama_cpp.llama_init_from_model(model, params)
    if not running:
        raise ConvertError("llama.cpp cannot make a context for the model; there may be too little memory.")
    try:
        yield running
    finally:
        llama_cpp.llama_free(running)


def _tokenize(model: Any, text: str) -> list[int]:
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    data = text.encode()
    room = len(data) + _SPECIAL
    tokens = (llama_cpp.llama_token * room)()
    count = llama_cpp.llama_tokenize(vocabulary, data, len(data), tokens, room, True, False)  # noqa: FBT003
    if count < 0:
        raise ConvertError("llama.cpp cannot tokenize the calibration text.")
    return list(tokens[:count])


def _decode(model: Any, running: Any, tokens: list[int]) -> None:
    """Run one chunk from an empty memory; every token gives logits, or the last layer would skip most of them."""
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    if llama_cpp.llama_vocab_get_add_bos(vocabulary):
        tokens = [llama_cpp.llama_vocab_bos(vocabulary), *tokens[1:]]
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(running), True)  # noqa: FBT003
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for at, token in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, at, 1
            batch.seq_id[at][0], batch.logits[at] = 0, 1
        if llama_cpp.llama_decode(running, batch):
            raise ConvertError("llama.cpp failed to run the model over the calibration text.")
    finally:
        llama_cpp.llama_batch_free(batch)
