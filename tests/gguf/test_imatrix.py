"""Importance matrices: what is read, what is made, and that nothing but model, text and options shows in it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf_parts import ours, tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelmill import ConvertError, Facts, Job, Limits, Outlook, Refusal, Tensor
from modelmill.testing import FormatSuite, make_checkpoint
from modelmill_gguf import imatrix, model, offers
from modelmill_gguf.fields import Field, ValueType, numbers, scalar, string, strings, uint32
from modelmill_gguf.imatrix_record import MAKE_IMATRIX, ImatrixOptions
from modelmill_gguf.imatrix_weights import weights
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.quantize_metadata import added_fields
from modelmill_gguf.quantize_record import QUANTIZER
from modelmill_gguf.writer import header_bytes

TEXT = "The quick brown fox jumps over the lazy dog, and nobody knows why. " * 12
CONTEXT = 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama", dtype="F32")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("converted")
    limits = Limits(scratch=tmp_path_factory.mktemp("scratch"))
    offers.FROM_HUGGINGFACE.run(
        Job(
            source=checkpoint,
            inputs={},
            out=out,
            scheme="F32",
            options=ConvertOptions(),
            hardware=None,
            limits=limits,
        )
    )
    return out


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "foxes.txt").write_text(TEXT)
    return folder


def make(converted: Path, calibration: Path, out: Path, *, threads: int = 1, chunks: int | None = None) -> Path:
    out.mkdir()
    MAKE_IMATRIX.run(
        Job(
            source=converted,
            inputs={"calibration": calibration},
            out=out,
            scheme="gguf",
            options=ImatrixOptions(context=CONTEXT, chunks=chunks),
            hardware=None,
            limits=Limits(threads=threads, scratch=out.parent / f"{out.name}-scratch"),
        )
    )
    return out


class TestImatrix(FormatSuite):
    plugin = "modelmill_gguf"
    name = "imatrix"

    def make_sample(self, folder: Path) -> None:
        tiny.write_imatrix(folder / "imatrix.gguf", tiny.importances(tiny.Tiny(layers=1)))

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "imatrix.gguf", range(24)  # magic, version, numbers of tensors and of metadata


class TestLegacyImatrix(TestImatrix):
    def make_sample(self, folder: Path) -> None:
        tiny.write_legacy_imatrix(folder / "old.dat", tiny.importances(tiny.Tiny(layers=1)))

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "old.dat", range(8)  # number of entries, length of the first name


def outlook(converted: Path, calibration: Path, **options: int) -> Outlook[ImatrixOptions]:
    text = Facts(format="text", files={path.name: path.stat().st_size for path in calibration.iterdir()})
    return Outlook(
        facts=model.facts(converted),
        scheme=None,
        options=ImatrixOptions(**options),
        inputs={"calibration": text},
    )


def test_it_is_what_the_model_says_of_the_text(
    tmp_path: Path, checkpoint: Path, converted: Path, calibration: Path
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    found = weights(imatrix.open_imatrix(make(converted, calibration, tmp_path / "out")))
    network = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    sums: dict[str, list[np.ndarray[tuple[int], np.dtype[np.float64]]]] = {}
    for layer, block in enumerate(network.model.layers):
        for name, module in (
            ("attn_q", block.self_attn.q_proj),
            ("attn_output", block.self_attn.o_proj),
            ("ffn_up", block.mlp.up_proj),
            ("ffn_down", block.mlp.down_proj),
        ):

            def listen(_: object, inputs: tuple[object, ...], key: str = f"blk.{layer}.{name}.weight") -> None:
                rows = inputs[0].detach().double().numpy()[0]  # type: ignore[attr-defined]
                sums.setdefault(key, []).append((rows**2).mean(0))

            module.register_forward_pre_hook(listen)
    ids = tokenizer(TEXT).input_ids
    with torch.no_grad():
        for chunk in range(len(ids) // CONTEXT):
            tokens = ids[chunk * CONTEXT : (chunk + 1) * CONTEXT]
            if network.config.bos_token_id is not None and ids[0] == network.config.bos_token_id:
                tokens = [network.config.bos_token_id, *tokens[1:]]
            network(torch.tensor([tokens]))
    assert sums
    for name, means in sums.items():
        np.testing.assert_allclose(found[name], np.mean(means, 0), rtol=0.02, atol=1e-6, err_msg=name)


def test_its_facts_are_foretold(tmp_path: Path, converted: Path, calibration: Path) -> None:
    out = make(converted, calibration, tmp_path / "out", chunks=2)
    foretold = MAKE_IMATRIX.infer(outlook(converted, calibration, context=CONTEXT, chunks=2))
    assert isinstance(foretold, Facts)
    actual = imatrix.facts(out)
    assert (foretold.files, foretold.tensors, foretold.details) == (actual.files, actual.tensors, actual.details)
    assert imatrix.detect(out)
    assert not model.detect(out)


def test_threads_do_not_show(tmp_path: Path, converted: Path, calibration: Path) -> None:
    files = [
        make(converted, calibration, tmp_path / str(threads), threads=threads) / "imatrix.gguf" for threads in (1, 3)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_quantizer_uses_it_as_foretold(tmp_path: Path, converted: Path, calibration: Path) -> None:
    out = make(converted, calibration, tmp_path / "out")
    source = converted / "model.gguf"
    foretold_matrix = MAKE_IMATRIX.infer(outlook(converted, calibration, context=CONTEXT))
    assert isinstance(foretold_matrix, Facts)
    foretold = QUANTIZER.infer(
        Outlook(
            facts=model.facts(converted),
            scheme="IQ2_M",
            options=ours.QuantizeOptions(),
            inputs={"imatrix": foretold_matrix},
        )
    )
    made = ours.quantize(source.parent, tmp_path / "quantized", "IQ2_M", imatrix=out)
    assert isinstance(foretold, Facts)
    assert foretold.files == {"model.gguf": made.stat().st_size}


def test_a_text_that_is_too_short(tmp_path: Path, converted: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "short.txt").write_text("Too short.")
    with pytest.raises(ConvertError, match=f"two chunks of {CONTEXT} need {2 * CONTEXT}"):
        make(converted, tmp_path / "text", tmp_path / "out")


def test_a_text_that_is_not_utf_8(tmp_path: Path, converted: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "latin.txt").write_bytes("Über".encode() + "Straße".encode("latin-1"))
    with pytest.raises(ConvertError, match=r"latin\.txt is not UTF-8 from its byte 9 on; save it as UTF-8"):
        make(converted, tmp_path / "text", tmp_path / "out")


def test_options_that_cannot_be_are_refused(converted: Path, calibration: Path) -> None:
    for options in ({"context": 8}, {"chunks": 0}):
        assert isinstance(MAKE_IMATRIX.infer(outlook(converted, calibration, **options)), Refusal)


@pytest.mark.parametrize("write", [tiny.write_imatrix, tiny.write_legacy_imatrix])
def test_negative_importances_are_refused_with_the_tensor(tmp_path: Path, write: Callable[..., Path]) -> None:
    good, bad = np.ones(256, np.float32), np.ones(256, np.float32)
    bad[7] = -1
    name = "imatrix.gguf" if write is tiny.write_imatrix else "old.dat"
    write(tmp_path / name, {"blk.0.attn_k.weight": good, "blk.0.attn_q.weight": bad})
    with pytest.raises(ConvertError, match=rf"{name} holds negative values for the tensor 'blk\.0\.attn_q\.weight'"):
        weights(imatrix.open_imatrix(tmp_path))


def test_the_legacy_format_is_read(tmp_path: Path) -> None:
    values = tiny.importances(tiny.Tiny(layers=1))
    tiny.write_legacy_imatrix(tmp_path / "old.dat", values)
    file = imatrix.open_imatrix(tmp_path)
    assert (file.datasets, file.chunks) == (("text.txt",), 4)
    found = weights(file)
    assert found.keys() == values.keys()
    assert all(np.array_equal(found[name], values[name]) for name in values)
    assert imatrix.facts(tmp_path).scheme == "dat"


@pytest.mark.parametrize("size", [0, 3, 40, 200])
def test_a_legacy_file_that_ends_too_early(tmp_path: Path, size: int) -> None:
    path = tiny.write_legacy_imatrix(tmp_path / "old.dat", tiny.importances(tiny.Tiny(layers=1)))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ConvertError, match=r"old\.dat"):
        imatrix.open_imatrix(tmp_path)


def test_a_model_is_no_importance_matrix(tmp_path: Path) -> None:
    tiny.write(tmp_path / "model.gguf", tiny.Tiny(layers=1))
    with pytest.raises(ConvertError, match="no importance matrix"):
        imatrix.open_imatrix(tmp_path)


KEYS = ("general.type", "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size", "general.alignment")
SCALARS = [kind for kind in ValueType if kind not in (ValueType.STRING, ValueType.ARRAY)]


def field_of(key: str) -> st.SearchStrategy[Field]:
    number, kinds = st.integers(0, 100), st.sampled_from(SCALARS)
    return st.one_of(
        st.builds(lambda kind, value: scalar(key, kind, value), kinds, number),
        st.builds(lambda value: string(key, value), st.text(max_size=8)),
        st.builds(lambda values: strings(key, values), st.lists(st.binary(max_size=4), max_size=4)),
        st.builds(lambda kind, values: numbers(key, kind, values), kinds, st.lists(number, max_size=4)),
    )


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), odd=st.sets(st.sampled_from(KEYS)))
def test_keys_that_hold_something_else_than_they_should_are_one_sentence_at_most(
    tmp_path: Path, data: st.DataObject, odd: set[str]
) -> None:
    fields = [data.draw(field_of(key)) for key in sorted(odd)]
    usual = (
        strings("imatrix.datasets", [data.draw(st.binary(max_size=8))]),
        uint32("imatrix.chunk_count", 3),
        uint32("imatrix.chunk_size", 32),
    )
    fields += [field for field in usual if field.key not in odd]
    sums = Tensor(name="blk.0.ffn_up.weight.in_sum2", dtype="F32", shape=(1, 8))
    counts = Tensor(name="blk.0.ffn_up.weight.counts", dtype="F32", shape=(1, 1))
    (tmp_path / "fuzzed.gguf").write_bytes(header_bytes(fields, [sums, counts]) + bytes(256))
    try:
        file = imatrix.open_imatrix(tmp_path)
    except ConvertError as error:
        assert "fuzzed.gguf" in str(error)  # noqa: PT017
        assert not imatrix.detect(tmp_path)
    else:
        assert imatrix.detect(tmp_path)
        assert added_fields("Q4_0", file.summary())
        assert json.dumps(dict(imatrix.facts(tmp_path).details)).isprintable()
