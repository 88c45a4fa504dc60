"""What the quantizer refuses, at plan time and in one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_parts import ours, tiny
from gguf_parts.ours import QuantizeOptions

from modelmill import ConvertError, Facts, Refusal
from modelmill.recipe import Recipe
from modelmill.testing import make_checkpoint
from modelmill_gguf.quantize_policy import SCHEMES
from modelmill_gguf.quantize_record import QUANTIZER


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("source") / "source.gguf", tiny.Tiny(layers=2))


def reason(source: Path, scheme: str = "Q4_K_M", *, imatrix: Path | None = None, **options: Any) -> str:
    found = QUANTIZER.infer(ours.outlook(source, scheme, imatrix=imatrix, options=QuantizeOptions(**options)))
    assert isinstance(found, Refusal)
    assert found.reason.endswith(".")
    return found.reason


def test_an_override_that_matches_nothing(source: Path) -> None:
    assert "'ffn_dwn=Q8_0' matches no tensor" in reason(source, tensor_types=("ffn_down=Q8_0", "ffn_dwn=Q8_0"))
    assert "matches no tensor" in reason(source, tensor_types=("attn_norm=Q8_0",))


@pytest.mark.parametrize("text", ["ffn_down", "=Q8_0", "ffn_(=Q8_0"])
def test_an_override_that_is_none(source: Path, text: str) -> None:
    assert repr(text) in reason(source, tensor_types=(text,))


@pytest.mark.parametrize(
    "options",
    [
        {"tensor_types": ("ffn_down=Q9_0",)},
        {"output_type": "Q9_0"},
        {"embedding_type": "Q9_0"},
        {"recipe": Recipe.parse({"default": "Q9_0"})},
    ],
    ids=str,
)
def test_an_unknown_type_is_named_with_the_list(source: Path, options: dict[str, Any]) -> None:
    found = reason(source, **options)
    assert "'Q9_0'" in found
    assert "Q4_K" in found


@pytest.mark.parametrize("kind", ["I8", "I32", "F64", "Q8_1", "Q8_K"])
@pytest.mark.parametrize("option", ["tensor_types", "output_type", "embedding_type", "recipe"])
def test_a_type_that_no_weight_can_become_is_refused_with_those_that_one_can(
    source: Path, kind: str, option: str
) -> None:
    given: dict[str, Any] = {"tensor_types": (f"attn_q={kind}",), "recipe": Recipe.parse({"default": kind})}
    options = {option: given.get(option, kind)}
    found = reason(source, **options)
    assert f"'{kind}', which no weight can become; there is F32, " in found
    assert kind not in found.partition("there is ")[2].split(", ")


def test_types_are_taken_in_small_letters_too(source: Path) -> None:
    small = QuantizeOptions(tensor_types=("ffn_up=q6_k",), output_type="q8_0", embedding_type="f16")
    large = QuantizeOptions(tensor_types=("ffn_up=Q6_K",), output_type="Q8_0", embedding_type="F16")
    found, expected = (QUANTIZER.infer(ours.outlook(source, "Q4_K_M", options=each)) for each in (small, large))
    assert isinstance(found, Facts)
    assert found == expected


def test_types_of_a_recipe_are_taken_in_small_letters_too(source: Path) -> None:
    def found(change: Callable[[str], str]) -> Facts | Refusal:
        recipe = Recipe.parse(
            {
                "extends": "base",
                "default": change("Q4_K"),
                "rules": [{"tensors": ["ffn_up"], "type": change("Q6_K")}],
                "fallbacks": {change("Q4_K"): [change("Q8_0")]},
            }
        )
        return QUANTIZER.infer(ours.outlook(source, "Q4_K_M", options=QuantizeOptions(recipe=recipe)))

    assert isinstance(found(str.lower), Facts)
    assert found(str.lower) == found(str.upper)


def test_an_override_that_others_leave_nothing_for(source: Path) -> None:
    found = reason(source, tensor_types=("ffn_down=Q8_0", "blk.*ffn_down=Q6_K"))
    assert "'blk.*ffn_down=Q6_K' changes nothing: overrides before it" in found
    found = reason(source, tensor_types=("token_embd=Q8_0",), embedding_type="Q6_K")
    assert "'token_embd=Q8_0' changes nothing" in found


@pytest.mark.parametrize(("scheme", "hint"), [("Q4_K_X", "did you mean 'Q4_K_"), ("4bit", "there is ")])
def test_an_unknown_scheme_is_named_with_the_list(tmp_path: Path, scheme: str, hint: str) -> None:
    make_checkpoint(tmp_path / "checkpoint", "llama")
    (tmp_path / "build.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\nlicense = "MIT"\n[source.base]\nuri = "checkpoint"\n'
        f'[target.pi]\nsource = "base"\nhardware = "raspberry-pi-5"\nformat = "gguf"\nscheme = "{scheme}"\n'
        '[sign]\nmode = "none"\n'
    )
    command = [sys.executable, "-m", "modelmill", "plan", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"format 'gguf' has no scheme '{scheme}'; {hint}" in line
    assert all(name in line for name in SCHEMES)


def test_a_scheme_that_needs_an_importance_matrix(source: Path) -> None:
    found = reason(source, "IQ2_XS")
    assert "needs an importance matrix for the tensor 'blk.0.attn_k.weight'" in found
    assert "input 'imatrix'" in found


def test_an_importance_matrix_that_lacks_a_tensor(source: Path, tmp_path: Path) -> None:
    values = tiny.importances(tiny.Tiny(layers=1))
    tiny.write_imatrix(tmp_path / "imatrix.gguf", values)
    assert "nothing for the tensor 'blk.1.attn_k.weight'" in reason(source, "IQ2_XS", imatrix=tmp_path)


def test_an_importance_matrix_of_another_shape(source: Path, tmp_path: Path) -> None:
    (tmp_path / "imatrix").mkdir()
    tiny.write_imatrix(tmp_path / "imatrix" / "imatrix.gguf", {"blk.0.attn_k.weight": np.ones(64, np.float32)})
    assert "64 values for the tensor 'blk.0.attn_k.weight', which needs 256" in reason(
        source, imatrix=tmp_path / "imatrix"
    )
    with pytest.raises(ConvertError, match=r"64 values for the tensor .*, which needs 256"):
        ours.quantize(source.parent, tmp_path / "out", "Q4_K_M", imatrix=tmp_path / "imatrix")


def test_an_importance_matrix_of_another_model(source: Path, tmp_path: Path) -> None:
    tiny.write_imatrix(tmp_path / "imatrix.gguf", {"blk.40.attn_k.weight": np.ones(256, np.float32)})
    assert "nothing for any tensor of the model; it is for 'blk.40.attn_k.weight'" in reason(source, imatrix=tmp_path)


def test_a_model_that_was_not_trained_ternary(source: Path) -> None:
    assert "not trained to have three values" in reason(source, "TQ2_0")
    assert isinstance(QUANTIZER.infer(ours.outlook(source, "TQ2_0", ternary=True)), Facts)


@pytest.mark.parametrize(
    "options",
    [{"tensor_types": ("attn_q=TQ2_0",)}, {"output_type": "TQ1_0"}, {"recipe": Recipe.parse({"extends": "TQ2_0"})}],
    ids=str,
)
def test_nor_does_an_override_or_a_recipe_make_a_model_ternary(source: Path, options: dict[str, Any]) -> None:
    assert "not trained to have three values; give it another type" in reason(source, **options)
    given = QuantizeOptions(**options)
    assert isinstance(QUANTIZER.infer(ours.outlook(source, "Q4_K_M", options=given, ternary=True)), Facts)


def test_tensors_that_are_quantized_already(source: Path, tmp_path: Path) -> None:
    quantized = ours.quantize(source.parent, tmp_path / "out", "Q8_0")
    assert "is Q8_0 already" in reason(quantized, "Q4_0")


def test_a_shape_without_a_fallback(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "source.gguf", tiny.Tiny(width=100, layers=1))
    assert "cannot be of type Q1_0" in reason(path, "Q1_0")


def test_a_recipe_that_extends_nothing_known(source: Path) -> None:
    assert "'Q4_X'" in reason(source, recipe=Recipe.parse({"extends": "Q4_X"}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["blk.1.ffn_down.weight", "blk.1.ffn_norm.weight"])
def test_values_that_are_not_finite_are_reported_with_the_tensor(tmp_path: Path, bad: float, name: str) -> None:
    (tmp_path / "source").mkdir()
    path = tiny.write(tmp_path / "source" / "source.gguf", tiny.Tiny(layers=2, dtype="F32"))
    from modelmill_gguf.header import read_header

    (info,) = [info for info in read_header(path).tensors if info.name == name]
    with path.open("r+b") as file:
        file.seek(info.offset + 20)
        file.write(np.float32(bad).tobytes())
    with pytest.raises(ConvertError, match=f"'{name}' holds values that are NaN or infinite"):
        ours.quantize(path.parent, tmp_path / "out", "Q4_K_M")


def test_a_rule_of_ones_own_that_matches_nothing(source: Path) -> None:
    def told(*rules: dict[str, Any]) -> str:
        return reason(source, recipe=Recipe.parse({"extends": "Q4_K_M", "rules": list(rules)}))

    assert told({"tensors": ["ffn_dawn"], "type": "Q8_0"}) == (
        "The rule 'ffn_dawn' matches no tensor that the scheme quantizes; correct its pattern or leave it out."
    )
    assert "'attn_norm' matches no tensor" in told({"tensors": ["attn_norm"], "type": "Q8_0"})
    elsewhere = {"tensors": ["ffn_up_exps"], "type": "Q8_0", "when": {"experts_at_least": 2}}
    assert "'ffn_dawn'" in told(elsewhere, {"tensors": ["ffn_dawn"], "type": "Q8_0", "when": {"first": 1}})


def test_a_recipe_of_ones_own_extends_a_schemes(source: Path, tmp_path: Path) -> None:
    recipe = Recipe.parse({"extends": "Q4_K_M", "rules": [{"tensors": ["ffn_up"], "type": "Q6_K"}]})
    options = QuantizeOptions(recipe=recipe)
    found = ours.facts(ours.quantize(source.parent, tmp_path / "out", "Q4_K_M", options=options))
    types = {tensor.name: tensor.dtype for tensor in found.tensors}
    assert (types["blk.0.ffn_up.weight"], types["blk.0.attn_q.weight"]) == ("Q6_K", "Q4_K")


def test_fallbacks_are_told_in_the_facts(source: Path) -> None:
    found = QUANTIZER.infer(ours.outlook(source, "Q4_K_M"))
    assert isinstance(found, Facts)
    assert found.details["exceptions"] == {
        "their rows do not divide into blocks of Q4_K, so they become Q5_0": ["blk.0.ffn_down.weight"],
        "their rows do not divide into blocks of Q6_K, so they become Q8_0": ["blk.1.ffn_down.weight"],
    }
