import pydoc_data.topics
import tempfile
from pathlib import Path

import pytest
from gguf_conversions import comparable_fields, convert, predicted, reference, tensor_bytes

from modelmill import Job, Limits
from modelmill_gguf.to_huggingface import TO_HUGGINGFACE
from reference import llama

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, real_gguf: Path) -> Path:
    """SmolLM2 as a Hugging Face checkpoint."""
    out = tmp_path_factory.mktemp("smollm2")
    source = tmp_path_factory.mktemp("gguf")
    (source / "model.gguf").symlink_to(real_gguf)
    record = TO_HUGGINGFACE
    options = record.options()
    with tempfile.TemporaryDirectory() as scratch:
        limits = Limits(threads=2, scratch=Path(scratch))
        record.run(
            Job(
                source=source,
                inputs={},
                out=out,
                scheme="BF16",
                options=options,
                hardware=None,
                limits=limits,
            )
        )
    return out


def test_the_real_model_converts_as_llama_cpp_converts_it(
    tmp_path: Path, checkpoint: Path, llama_cpp_sdist: Path
) -> None:
    schemes = ("F16", "BF16")
    reference(llama_cpp_sdist, [(checkpoint, tmp_path / f"{scheme}.gguf", scheme, None) for scheme in schemes])
    for scheme in schemes:
        ours = convert(checkpoint, tmp_path / scheme, scheme) / "model.gguf"
        theirs = tmp_path / f"{scheme}.gguf"
        assert comparable_fields(ours) == comparable_fields(theirs)
        assert tensor_bytes(ours) == tensor_bytes(theirs)
        assert dict(predicted(checkpoint, scheme).files) == {"model.gguf": ours.stat().st_size}


def test_the_real_models_tokens_are_those_of_the_tokenizers_library(tmp_path: Path, checkpoint: Path) -> None:
    from tokenizers import Tokenizer

    file = convert(checkpoint, tmp_path / "out", "BF16") / "model.gguf"
    text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    assert llama.tokenize(file, text) == tokenizer.encode(text, add_special_tokens=False).ids
