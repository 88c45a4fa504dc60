"""What cannot be converted, or is not sound: one sentence each, that names the file and the name."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_parts.folders import build

from modelmill import ConvertError, Facts, Outlook, Refusal
from modelmill.checkpoint import facts, open_checkpoint
from modelmill.recipe import parse_toml
from modelmill.testing.checkpoints import make_checkpoint, safetensors
from modelmill_onnx.offers import FORMAT, FROM_HUGGINGFACE, QUANTIZE
from modelmill_onnx.options import BuildOptions, QuantizeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("bad") / "source", "llama")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    return build(source, tmp_path_factory.mktemp("built") / "onnx")


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(built, tmp_path / "folder"))


def refusal(known: Facts, scheme: str = "fp32", **options: Any) -> str:
    found = FROM_HUGGINGFACE.infer(Outlook(facts=known, scheme=scheme, options=BuildOptions(**options)))
    assert isinstance(found, Refusal)
    return found.reason


def test_unknown_architecture_is_refused_by_name(source: Path) -> None:
    assert "MambaForCausalLM" in refusal(replace(facts(source), architecture="MambaForCausalLM"))


def test_missing_tokenizer_is_refused(source: Path) -> None:
    known = facts(source)
    files = {name: size for name, size in known.files.items() if not name.startswith("tokenizer.")}
    assert "tokenizer.json" in refusal(replace(known, files=files))


def test_head_size_that_the_kernel_does_not_take_is_refused(source: Path) -> None:
    known = facts(source)
    assert "multiple of 16" in refusal(replace(known, config={**known.config, "head_dim": 24}))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}},
    ],
    ids=["flat", "nested"],
)
def test_linear_rope_of_gemma_3_is_refused_and_of_others_is_not(source: Path, tmp_path: Path, rope: Any) -> None:
    known = facts(make_checkpoint(tmp_path / "gemma3", "gemma3"))
    plain = FROM_HUGGINGFACE.infer(Outlook(facts=known, scheme="fp32", options=BuildOptions()))
    assert isinstance(plain, Facts)
    assert "rotary embedding" in refusal(replace(known, config={**known.config, **rope}))
    other = facts(source)
    scaled = replace(other, config={**other.config, **rope})
    assert isinstance(FROM_HUGGINGFACE.infer(Outlook(facts=scaled, scheme="fp32", options=BuildOptions())), Facts)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("LlamaForCausalLM", "yarn"),
        ("LlamaForCausalLM", "dynamic"),
        ("Qwen3ForCausalLM", "yarn"),
        ("Qwen3ForCausalLM", "llama3"),
        ("HunYuanDenseV1ForCausalLM", "linear"),
        ("Phi3ForCausalLM", "yarn"),
    ],
)
def test_a_rotary_embedding_that_the_builder_computes_otherwise_is_refused(
    source: Path, architecture: str, kind: str
) -> None:
    known = replace(facts(source), architecture=architecture)
    for rope in ({"rope_scaling": {"type": kind}}, {"rope_scaling": None, "rope_parameters": {"rope_type": kind}}):
        found = refusal(replace(known, config={**known.config, **rope}))
        assert f"rotary embedding {kind!r} of a {architecture}" in found


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_attention_heads": 0, "head_dim": None}, "num_attention_heads is 0"),
        ({"num_attention_heads": "4", "head_dim": None}, "num_attention_heads is '4'"),
        ({"num_key_value_heads": "2"}, "num_key_value_heads is '2'"),
        ({"head_dim": "16"}, "head_dim is '16'"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear', not a table"),
        ({"rope_parameters": {"full_attention": 8}}, "full_attention in rope_parameters is 8, not a table"),
    ],
)
def test_a_configuration_of_other_kinds_is_refused(source: Path, config: dict[str, Any], said: str) -> None:
    known = facts(source)
    assert said in refusal(replace(known, config={**known.config, **config}))


def test_a_class_that_is_not_named_is_refused(source: Path) -> None:
    assert "of a model of no named architecture" in refusal(replace(facts(source), architecture=None))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_hidden_layers": 3}, r"^the checkpoint has no tensor 'model\.layers\.2\.input_layernorm\.weight'"),
        ({"tie_word_embeddings": False}, r"^the checkpoint has no tensor 'lm_head\.weight'"),
        ({"vocab_size": 600}, r"^tensor 'model\.embed_tokens\.weight' has the shape .* asks for \[600, 64\]"),
    ],
)
def test_weights_that_the_checkpoint_lacks_are_not_made_up(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    known = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**known, **config}))
    with pytest.raises(ConvertError, match=said):
        build(source, tmp_path / "out")


def with_tensor(source: Path, name: str) -> Path:
    """The checkpoint with a tensor of four values more."""
    with open_checkpoint(source) as checkpoint:
        tensors = {item.name: (item.dtype, item.shape, bytes(checkpoint.raw(item.name))) for item in checkpoint.tensors}
    (source / "model.safetensors").write_bytes(safetensors({**tensors, name: ("F32", (4,), bytes(16))}))
    return source


@pytest.mark.parametrize("name", ["model.layers.2.input_layernorm.weight", "model.layers.1.self_attn.q_proj.bias"])
def test_tensors_that_have_no_place_in_the_model_are_not_left_out(tmp_path: Path, name: str) -> None:
    source = with_tensor(make_checkpoint(tmp_path / "source", "llama"), name)
    with pytest.raises(ConvertError, match=f"^tensor '{re.escape(name)}' has no place in the model"):
        build(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.attention.bias"])
def test_buffers_that_old_versions_of_transformers_saved_are_left_out(tmp_path: Path, name: str) -> None:
    source = with_tensor(make_checkpoint(tmp_path / "source", "llama"), name)
    assert isinstance(
        FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme="fp32", options=BuildOptions())), Facts
    )
    build(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (1, "tensor 'model.layers.1.input_layernorm.weight' has no place in a model of 1 layers"),
        (3, "the checkpoint has no tensors of layer 2, and config.json asks for 3 layers"),
    ],
)
def test_other_layers_than_the_configuration_asks_for_are_refused_by_plan(source: Path, layers: int, said: str) -> None:
    known = facts(source)
    assert said in refusal(replace(known, config={**known.config, "num_hidden_layers": layers}))


def test_a_rotated_part_of_a_head_that_the_kernel_does_not_take_is_refused(source: Path) -> None:
    known = facts(source)
    for rope in ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.5}}):
        assert "rotates 8 values" in refusal(replace(known, config={**known.config, **rope}))
    assert "rotates 8 values" in refusal(replace(known, architecture="PhiForCausalLM"))


def test_clipped_queries_are_refused(source: Path) -> None:
    known = facts(source)
    assert "clip_qkv" in refusal(replace(known, config={**known.config, "clip_qkv": 8.0}))


def test_fp16_is_refused_for_the_cpu_alone(source: Path) -> None:
    assert "cuda" in refusal(facts(source), "fp16")
    outlook = Outlook(facts=facts(source), scheme="fp16", options=BuildOptions(execution_provider="cuda"))
    assert isinstance(FROM_HUGGINGFACE.infer(outlook), Facts)


def test_foundry_local_needs_a_name(source: Path) -> None:
    assert "model_name" in refusal(facts(source), layout="foundry-local")


def test_a_name_for_foundry_local_needs_its_layout(source: Path) -> None:
    assert "add layout = foundry-local" in refusal(facts(source), model_name="tiny")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algorithm": "hqq", "symmetric": True}, "zero point"),
        ({"algorithm": "gptq"}, "calibration"),
        ({"recipe": parse_toml('default = "int3"')}, "int3"),
        ({"recipe": parse_toml('[[rules]]\ntype = "int8"\nroles = ["nobody"]')}, "'nobody'"),
        ({"calibration_chunks": 0}, "at least 1"),
    ],
)
def test_quantizer_refuses_what_cannot_be(built: Path, options: dict[str, Any], said: str) -> None:
    outlook = Outlook(facts=FORMAT.facts(built), scheme="int4", options=QuantizeOptions(**options))
    found = QUANTIZE.infer(outlook)
    assert isinstance(found, Refusal)
    assert said in found.reason


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConvertError, match=r"^model\.safetensors"):
        build(source, tmp_path / "out")


@pytest.mark.parametrize("place", ["../outside.data", "/etc/passwd", "C:\\outside", "a/../../b", ""])
def test_weights_outside_the_folder_are_refused(folder: Path, place: str) -> None:
    (folder.parent / "outside.data").write_bytes((folder / "model.onnx.data").read_bytes())
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    tensor = next(item for item in model.graph.initializer if item.external_data)
    next(entry for entry in tensor.external_data if entry.key == "location").value = place
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConvertError, match="outside the model's folder"):
        FORMAT.validate(folder)


def test_weights_behind_a_link_are_refused(folder: Path) -> None:
    (folder / "model.onnx.data").rename(folder.parent / "outside.data")
    (folder / "model.onnx.data").symlink_to(folder.parent / "outside.data")
    with pytest.raises(ConvertError, match="is a link"):
        FORMAT.validate(folder)


def test_weights_past_the_end_of_their_file_are_refused(folder: Path) -> None:
    data = folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ConvertError, match=r"ends at byte [\d,]+ of model\.onnx\.data"):
        FORMAT.validate(folder)


def test_weights_that_are_not_there_are_named(folder: Path) -> None:
    (folder / "model.onnx.data").unlink()
    with pytest.raises(ConvertError, match="not in the folder"):
        FORMAT.validate(folder)


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("", r"^model\.onnx: onnx\.checker finds a fault: .*UnknownByAll"),
        ("com.microsoft", r"^model\.onnx: ONNX Runtime does not open it: .*UnknownByAll"),
    ],
)
def test_an_operator_that_nobody_knows_is_refused_and_named(folder: Path, domain: str, said: str) -> None:
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    node.op_type, node.domain = "UnknownByAll", domain
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConvertError, match=said):
        FORMAT.validate(folder)


@pytest.mark.parametrize("key", ["filename", "logits", "past_key_names"])
def test_genai_config_that_names_what_is_not_there_is_refused(folder: Path, key: str) -> None:
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    decoder = config["model"]["decoder"]
    for table in (decoder, decoder["inputs"], decoder["outputs"]):
        if key in table:
            table[key] = "nowhere"
    path.write_text(json.dumps(config))
    with pytest.raises(ConvertError, match="nowhere"):
        FORMAT.validate(folder)


def test_a_graph_that_is_none_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not an ONNX model")
    with pytest.raises(ConvertError, match=r"^model\.onnx"):
        FORMAT.facts(folder)
