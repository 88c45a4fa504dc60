import hashlib
import pydoc_data.topics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelmill import ConvertError, Facts, Job, Limits, Outlook, Refusal, Tensor
from modelmill.checkpoint import facts, open_checkpoint, read_tokenizer
from modelmill.testing import make_checkpoint
from modelmill_gguf import offers
from modelmill_gguf.fields import Field, ValueType, boolean, float32, numbers, string, strings, uint32
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.to_huggingface import TO_HUGGINGFACE, ToHuggingFace
from modelmill_gguf.to_huggingface_config import shortest
from modelmill_gguf.to_huggingface_details import split_merge
from modelmill_gguf.writer import write
from reference import llama, models

TEXT = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
ODD = "<|im_start|>user\nNumbers 1234.5, don't  \t spaces,\r\n\n accents é ß, 你好, 🙂🙃, [{('…')}]<|im_end|>"


def convert(source: Path, out: Path, scheme: str | None = None) -> tuple[Facts, Path]:
    """Facts as the plan predicts them, and the folder that the converter made."""
    outlook = Outlook(facts=offers.FORMAT.facts(source), scheme=scheme, options=ToHuggingFace())
    predicted = TO_HUGGINGFACE.infer(outlook)
    assert isinstance(predicted, Facts), predicted
    assert predicted.scheme is not None
    out.mkdir()
    limits = Limits(scratch=out.parent / f"{out.name}-scratch")
    TO_HUGGINGFACE.run(
        Job(
            source=source,
            inputs={},
            out=out,
            scheme=predicted.scheme,
            options=ToHuggingFace(),
            hardware=None,
            limits=limits,
        )
    )
    return predicted, out


def refusal(found: Facts, scheme: str | None = None) -> str:
    answer = TO_HUGGINGFACE.infer(Outlook(facts=found, scheme=scheme, options=ToHuggingFace()))
    assert isinstance(answer, Refusal)
    return answer.reason


def to_gguf(source: Path, out: Path, scheme: str) -> Path:
    out.mkdir()
    limits = Limits(scratch=out.parent / f"{out.name}-scratch")
    offers.FROM_HUGGINGFACE.run(
        Job(source=source, inputs={}, out=out, scheme=scheme, options=ConvertOptions(), hardware=None, limits=limits)
    )
    return out


def differences(predicted: Facts, found: Facts) -> list[str]:
    names = ("format", "scheme", "architecture", "config", "tensors", "files", "licence", "details")
    return [name for name in names if getattr(predicted, name) != getattr(found, name)]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Path, float]:
    start = time.process_time()
    predicted, folder = convert(models.smollm2().parent, tmp_path_factory.mktemp("real") / "out")
    return predicted, folder, time.process_time() - start


@pytest.mark.real
def test_the_real_models_weights_are_what_they_always_were(real: tuple[Facts, Path, float]) -> None:
    with (real[1] / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"


@pytest.mark.real
def test_the_real_models_facts_are_foretold_to_the_byte(real: tuple[Facts, Path, float]) -> None:
    predicted, folder, seconds = real
    assert differences(predicted, facts(folder)) == []
    assert (predicted.quantization, predicted.licence, predicted.scheme) == ("Q4_1", "Apache-2.0", "BF16")
    assert seconds < 15


@pytest.mark.real
def test_the_real_models_token_ids_are_llama_cpps(real: tuple[Facts, Path, float]) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    ours = Tokenizer.from_file(str(real[1] / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(real[1])
    # llama.cpp's judge here reads special tokens as text, so they stay out of the comparison.
    for text in (TEXT, ODD.replace("<|im_start|>", "").replace("<|im_end|>", "")):
        ids = llama.tokenize(models.smollm2(), text)
        assert ours.encode(text).ids == ids
        assert theirs(text)["input_ids"] == ids
    assert theirs.decode(theirs(ODD)["input_ids"]) == ODD


@pytest.mark.real
def test_the_real_model_speaks_through_transformers(real: tuple[Facts, Path, float]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(real[1])
    model: Any = AutoModelForCausalLM.from_pretrained(real[1], dtype=torch.float32)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(reply[0])


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("scheme", ["BF16", "F16", "F32"])
def test_a_checkpoint_survives_the_way_there_and_back(tmp_path: Path, name: str, scheme: str) -> None:
    original = make_checkpoint(tmp_path / "original", name, dtype=scheme)
    predicted, back = convert(to_gguf(original, tmp_path / "gguf", scheme), tmp_path / "back")
    assert differences(predicted, facts(back)) == []
    assert predicted.scheme == scheme
    with open_checkpoint(original) as before, open_checkpoint(back) as after:
        assert {tensor.name for tensor in before.tensors} == {tensor.name for tensor in after.tensors}
        dtypes = {tensor.name: tensor.dtype for tensor in after.tensors}
        for tensor in before.tensors:
            if (name, scheme, len(tensor.shape)) == ("gemma3", "F32", 1):  # a norm's distance from one, rounded
                one, other = (np.frombuffer(each.raw(tensor.name), np.float32) for each in (before, after))
                assert np.abs(one - other).max() <= 2**-23
            elif dtypes[tensor.name] == tensor.dtype:
                assert bytes(before.raw(tensor.name)) == bytes(after.raw(tensor.name)), tensor.name
            else:
                assert (len(tensor.shape), dtypes[tensor.name]) == (1, "F32")


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3"])
def test_the_configuration_and_the_tokenizer_come_back(tmp_path: Path, name: str) -> None:
    from tokenizers import Tokenizer

    original = make_checkpoint(tmp_path / "original", name)
    _, back = convert(to_gguf(original, tmp_path / "gguf", "BF16"), tmp_path / "back")
    before, after = facts(original), facts(back)
    for key in after.config.keys() & before.config.keys() - {"transformers_version", "torch_dtype", "dtype"}:
        assert after.config[key] == before.config[key], key
    for text in ("The build makes 12 models, don't it?", ODD, " leading  space"):
        ids = [Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids for folder in (original, back)]
        assert ids[0] == ids[1]
    templates = [read_tokenizer(folder) for folder in (original, back)]
    assert templates[0]
    assert templates[1]
    assert templates[0].chat_template == templates[1].chat_template


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    gguf = to_gguf(make_checkpoint(tmp_path / "original", "llama"), tmp_path / "gguf", "BF16")
    folders = [convert(gguf, tmp_path / name)[1] for name in ("one", "two")]
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def small_model(folder: Path, *changes: Field, tensors: dict[str, Any] | None = None) -> Path:
    """A GGUF file of one layer; `changes` replace fields of the same key."""
    fields = [
        string("general.architecture", "llama"),
        uint32("llama.block_count", 1),
        uint32("llama.context_length", 64),
        uint32("llama.feed_forward_length", 4),
        uint32("llama.attention.head_count", 2),
        float32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "smollm"),
        strings("tokenizer.ggml.tokens", ["<s>", "a", "b", "ab"]),
        numbers("tokenizer.ggml.token_type", ValueType.INT32, [3, 1, 1, 1]),
        strings("tokenizer.ggml.merges", ["a b"]),
        uint32("tokenizer.ggml.bos_token_id", 0),
    ]
    named = {field.key: field for field in (*fields, *changes)}
    shapes = {"token_embd.weight": (4, 4), "output_norm.weight": (4,), "blk.0.attn_q.weight": (4, 4)} | (tensors or {})
    listed = [Tensor(name=name, dtype="F32", shape=shape) for name, shape in shapes.items()]
    folder.mkdir()
    job = Job(
        source=folder, inputs={}, out=folder, scheme="F32", options=None, hardware=None, limits=Limits(scratch=folder)
    )
    write(job, "m.gguf", fields=list(named.values()), tensors=listed, data=[[bytes(4 * size(each))] for each in listed])
    return folder


def size(tensor: Tensor) -> int:
    count = 1
    for dimension in tensor.shape:
        count *= dimension
    return count


@pytest.mark.parametrize("adds", [True, False])
def test_a_token_that_begins_texts_is_added_as_llama_cpp_adds_it(tmp_path: Path, *, adds: bool) -> None:
    from tokenizers import Tokenizer

    folder = small_model(tmp_path / "gguf", boolean("tokenizer.ggml.add_bos_token", value=adds))
    predicted, out = convert(folder, tmp_path / "out")
    assert differences(predicted, facts(out)) == []
    assert Tokenizer.from_file(str(out / "tokenizer.json")).encode("ab").ids == ([0, 3] if adds else [3])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (string("general.architecture", "mamba"), "architecture 'mamba' is not turned back"),
        (string("tokenizer.ggml.pre", "unheard-of"), "pre-tokenizer 'unheard-of' of the GGUF file is not known"),
        (string("tokenizer.ggml.model", "bert"), "a tokenizer of the kind 'bert'"),
        (strings("tokenizer.ggml.tokens", ["<s>", "a", "a", "ab"]), "has the token 'a' twice, as 1 and 2"),
        (strings("tokenizer.ggml.merges", ["ab"]), "merge 'ab' is not two tokens"),
        (strings("tokenizer.ggml.tokens", ["<s>", "a"]), "differ in number"),
        (strings("tokenizer.ggml.tokens", [b"\xff", b"a", b"b", b"c"]), "are not all UTF-8"),
        (uint32("llama.attention.head_count", 0), "attention.head_count must be a positive number, and is 0"),
        (string("llama.block_count", "x"), "block_count must be a positive number, and is 'x'"),
        (string("llama.rope.scaling.type", "longrope"), "rope scaling 'longrope'"),
        (uint32("llama.expert_count", 8), "a mixture of experts"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_before_any_work(tmp_path: Path, change: Field, sentence: str) -> None:
    found = offers.FORMAT.facts(small_model(tmp_path / "gguf", change))
    assert sentence in refusal(found)


def test_tensors_without_a_place_are_refused(tmp_path: Path) -> None:
    found = offers.FORMAT.facts(small_model(tmp_path / "one", tensors={"blk.0.attn_odd.weight": (4,)}))
    assert "'blk.0.attn_odd.weight' of the GGUF file has no place" in refusal(found)
    found = offers.FORMAT.facts(small_model(tmp_path / "two", tensors={"blk.1.attn_q.weight": (4, 4)}))
    assert "'blk.1.attn_q.weight' of the GGUF file has no place" in refusal(found)
    found = offers.FORMAT.facts(small_model(tmp_path / "three", tensors={"rope_freqs.weight": (1,)}))
    assert "rope_freqs.weight" in refusal(found)


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "gguf")
    path = folder / "m.gguf"
    data = bytearray(path.read_bytes())
    data[-4:] = b"\x00\x00\x80\x7f"  # infinity
    path.write_bytes(data)
    with pytest.raises(ConvertError, match="values that are no numbers"):
        convert(folder, tmp_path / "one")
    data[-4:] = b"\x00\x00\x80\x77"  # 5e33
    path.write_bytes(data)
    with pytest.raises(ConvertError, match="values beyond F16; use BF16"):
        convert(folder, tmp_path / "two", "F16")


def test_a_model_that_this_build_makes_itself_is_not_turned_back() -> None:
    assert "use that checkpoint as the source" in refusal(Facts(format="gguf", details={"gguf": {}}))


def test_numbers_are_spelled_as_people_do() -> None:
    assert shortest(9.999999747378752e-06) == 1e-05
    assert shortest(100000.0) == 100000.0
    assert shortest(0.3333333432674408) == 0.33333334


def test_a_merge_may_begin_with_a_space() -> None:
    assert split_merge("a b") == ("a", "b")
    assert split_merge("  b") == (" ", "b")
