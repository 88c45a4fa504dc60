import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelmill import ConvertError, Tensor
from modelmill.checkpoint.safetensors import header_bytes
from modelmill_huggingface import modelmill_formats

HUGGINGFACE, TEXT, *_ = modelmill_formats()


def checkpoint(folder: Path, metadata: dict[str, str] | None = None, **config: Any) -> Path:
    values = np.array([[1.0, -2.5], [0.0, 3.0]], dtype=np.float32)
    tensors = [
        Tensor(name="model.embed_tokens.weight", dtype="BF16", shape=(2, 2)),
        Tensor(name="norm", dtype="F16", shape=(2, 2)),
    ]
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes() + values.astype("<f2").tobytes()
    (folder / "model.safetensors").write_bytes(header_bytes(tensors, metadata or {"format": "pt"}) + data)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    return folder


def test_a_checkpoint_is_detected_and_sound(tmp_path: Path) -> None:
    assert HUGGINGFACE.detect(checkpoint(tmp_path))
    HUGGINGFACE.validate(tmp_path)
    assert HUGGINGFACE.facts(tmp_path).format == "huggingface"


def test_the_layout_of_mlx_is_not_taken_for_it(tmp_path: Path) -> None:
    assert not HUGGINGFACE.detect(checkpoint(tmp_path, metadata={"format": "mlx"}))
    assert not HUGGINGFACE.detect(checkpoint(tmp_path, quantization={"bits": 4, "group_size": 64}))


def test_values_are_widened(tmp_path: Path) -> None:
    assert HUGGINGFACE.tensors is not None
    for data in HUGGINGFACE.tensors(checkpoint(tmp_path)):
        assert len(data.raw) == 8
        assert data.values().tolist() == [[1.0, -2.5], [0.0, 3.0]]


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(ConvertError, match="highest token id is 2, but the model embeds 2 tokens"):
        HUGGINGFACE.validate(tmp_path)


def test_a_template_that_reaches_out_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}}))
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__ }}")
    with pytest.raises(ConvertError, match="uses the attribute '__class__'"):
        HUGGINGFACE.facts(tmp_path)


def test_a_text_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("Größe")
    assert TEXT.detect(tmp_path)
    TEXT.validate(tmp_path)
    assert TEXT.facts(tmp_path).files == {"topics.txt": 7}
    (tmp_path / "second.txt").write_text("more")
    assert not TEXT.detect(tmp_path)
    with pytest.raises(ConvertError, match=r"there are 2 here: second.txt, topics.txt"):
        TEXT.facts(tmp_path)


@pytest.mark.parametrize(
    ("data", "sentence"), [(b"\xff\xfe", "is not UTF-8"), (b"ok \xc3", "ends in the middle"), (b" \n", "holds no text")]
)
def test_a_text_that_is_none_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    for look in (TEXT.validate, TEXT.facts):
        with pytest.raises(ConvertError, match=rf"a\.txt: {sentence}"):
            look(tmp_path)
