"""The bytes of an ONNX folder depend on the model and the options, and on nothing else."""

from pathlib import Path

import pytest
from onnx_parts.folders import build, contents, quantize

from modelmill.testing.checkpoints import make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("bytes") / "source", "qwen3")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    return build(source, tmp_path_factory.mktemp("built") / "onnx")


@pytest.mark.parametrize("scheme", ["fp32", "int4-builder"])
def test_builder_gives_the_same_bytes_in_another_folder_with_other_threads(
    tmp_path: Path, source: Path, scheme: str
) -> None:
    first = build(source, tmp_path / "first", scheme)
    again = build(Path(source.rename(source.parent / "moved")), tmp_path / "another place" / "again", scheme, threads=2)
    (source.parent / "moved").rename(source)
    assert contents(again) == contents(first)


def test_builder_leaves_no_trace_of_where_it_is_installed(built: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(built / "model.onnx"), load_external_data=False)
    assert "+" not in model.producer_version
    texts = [data for name, data in contents(built).items() if not name.endswith(".data")]
    for place in (tmp_path.parent, Path(onnx.__file__).parent, Path.home()):
        assert not any(str(place).encode() in text for text in texts if len(str(place)) > len("/root"))


@pytest.mark.parametrize("algorithm", ["rtn", "mse", "hqq", "k_quant", "importance", "gptq"])
def test_quantizer_gives_the_same_bytes_with_other_threads(tmp_path: Path, built: Path, algorithm: str) -> None:
    text = tmp_path / "text"
    text.mkdir()
    (text / "text.txt").write_text(" ".join(f"word {number} of the text" for number in range(3000)))
    made = [
        quantize(
            built, tmp_path / f"{threads}", threads=threads, algorithm=algorithm, calibration=text, calibration_chunks=2
        )
        for threads in (1, 3)
    ]
    assert contents(made[0]) == contents(made[1])


def test_a_shared_embedding_is_stored_once(tmp_path: Path) -> None:
    sizes = {}
    for tied in (False, True):
        config = {"tie_word_embeddings": tied}
        source = make_checkpoint(tmp_path / f"source-{tied}", "llama", config=config)
        made = quantize(build(source, tmp_path / f"built-{tied}"), tmp_path / f"made-{tied}", algorithm="rtn")
        sizes[tied] = (made / "model.onnx.data").stat().st_size
    assert sizes[True] < sizes[False]
