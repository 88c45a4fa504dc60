"""What other plugins may use of this one: reading GGUF, writing it, and turning a tokenizer into its metadata.

All of it runs without a model tool but `write`'s caller, who brings the bytes. Names that are not here may change
at any time.
"""

from modelmill_gguf.architectures.common import sizes as size_fields
from modelmill_gguf.architectures.rope import fields as rope_fields
from modelmill_gguf.architectures.rope import refuse as refuse_rope
from modelmill_gguf.architectures.table import Change
from modelmill_gguf.details import gguf_details, tokenizer_details
from modelmill_gguf.fields import Buffer, Field, float32, string, uint32, value
from modelmill_gguf.file_types import NUMBERS as FILE_TYPES
from modelmill_gguf.header import Header, TensorInfo, read_header
from modelmill_gguf.hyperparameters import Hyperparameters
from modelmill_gguf.hyperparameters import read as read_hyperparameters
from modelmill_gguf.layout import QUANTIZATION_VERSION
from modelmill_gguf.layout import Planned as PlannedTensor
from modelmill_gguf.layout import plan as plan_conversion
from modelmill_gguf.lineage import lineage_fields
from modelmill_gguf.tensor_types import BY_NUMBER, I2_S, TYPES, byte_size
from modelmill_gguf.vocabulary import Vocabulary
from modelmill_gguf.vocabulary import build as vocabulary_fields
from modelmill_gguf.vocabulary import predict as predict_vocabulary
from modelmill_gguf.writer import file_size, metadata_size, write

__all__ = [
    "BY_NUMBER",
    "FILE_TYPES",
    "I2_S",
    "QUANTIZATION_VERSION",
    "TYPES",
    "Buffer",
    "Change",
    "Field",
    "Header",
    "Hyperparameters",
    "PlannedTensor",
    "TensorInfo",
    "Vocabulary",
    "byte_size",
    "file_size",
    "float32",
    "gguf_details",
    "lineage_fields",
    "metadata_size",
    "plan_conversion",
    "predict_vocabulary",
    "read_header",
    "read_hyperparameters",
    "refuse_rope",
    "rope_fields",
    "size_fields",
    "string",
    "tokenizer_details",
    "uint32",
    "value",
    "vocabulary_fields",
    "write",
]
