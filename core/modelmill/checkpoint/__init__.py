"""Checkpoints in Hugging Face layout, for plugins: bounded reading, facts, and streaming safetensors out."""

from modelmill.checkpoint.added_tokens import AddedToken
from modelmill.checkpoint.card import parse_card, read_card
from modelmill.checkpoint.chat_template import check_chat_template
from modelmill.checkpoint.facts import dominant_dtype, facts, file_sizes
from modelmill.checkpoint.folder import DERIVED_BUFFERS, Checkpoint, Placed, find_tensors, open_checkpoint
from modelmill.checkpoint.jsonfile import parse_object, read_bytes, read_object, read_text
from modelmill.checkpoint.licence import read_licence, spdx, stated_licence
from modelmill.checkpoint.pickles import is_pickle
from modelmill.checkpoint.safetensors import (
    DTYPE_BITS,
    Entry,
    read_header,
    read_metadata,
    safetensors_size,
    tensor_bytes,
    write_safetensors,
)
from modelmill.checkpoint.sentencepiece import Piece, SentencePieceSettings, parse_sentencepiece, parse_settings
from modelmill.checkpoint.ternary import (
    BITNET_CLASSES,
    TERNARY_TOLERANCE,
    declared_ternary,
    linear_layers,
    sampled_ternary_distance,
    ternary_distance,
)
from modelmill.checkpoint.tokenizer import Tokenizer, parse_tokenizer, read_tokenizer, summarize

__all__ = [
    "BITNET_CLASSES",
    "DERIVED_BUFFERS",
    "DTYPE_BITS",
    "TERNARY_TOLERANCE",
    "AddedToken",
    "Checkpoint",
    "Entry",
    "Piece",
    "Placed",
    "SentencePieceSettings",
    "Tokenizer",
    "check_chat_template",
    "declared_ternary",
    "dominant_dtype",
    "facts",
    "file_sizes",
    "find_tensors",
    "is_pickle",
    "linear_layers",
    "open_checkpoint",
    "parse_card",
    "parse_object",
    "parse_sentencepiece",
    "parse_settings",
    "parse_tokenizer",
    "read_bytes",
    "read_card",
    "read_header",
    "read_licence",
    "read_metadata",
    "read_object",
    "read_text",
    "read_tokenizer",
    "safetensors_size",
    "sampled_ternary_distance",
    "spdx",
    "stated_licence",
    "summarize",
    "tensor_bytes",
    "ternary_distance",
    "write_safetensors",
]
