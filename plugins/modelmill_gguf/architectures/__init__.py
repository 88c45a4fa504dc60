"""The architectures that can be converted, one table-like module each."""

from modelmill import ConvertError
from modelmill_gguf.architectures.gemma3 import GEMMA3
from modelmill_gguf.architectures.llama import LLAMA, MISTRAL
from modelmill_gguf.architectures.phi3 import PHI3
from modelmill_gguf.architectures.qwen2 import QWEN2
from modelmill_gguf.architectures.qwen3 import QWEN3
from modelmill_gguf.architectures.smollm3 import SMOLLM3
from modelmill_gguf.architectures.table import Architecture

ARCHITECTURES = (LLAMA, MISTRAL, SMOLLM3, QWEN2, QWEN3, GEMMA3, PHI3)

_BY_CLASS = {name: architecture for architecture in ARCHITECTURES for name in architecture.classes}


def find(class_name: str | None) -> Architecture:
    """The architecture of a checkpoint by its class in config.json. Raises ConvertError for any other."""
    found = _BY_CLASS.get(class_name or "")
    if found is None:
        known = ", ".join(sorted(_BY_CLASS))
        named = f"the architecture {class_name!r}" if class_name else "no architecture"
        raise ConvertError(f"config.json names {named}; those that can become GGUF are {known}.")
    return found
