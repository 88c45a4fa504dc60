"""The grammar of recipes, and which type a recipe gives to each tensor."""

import json

import pytest

from modelmill import Tensor
from modelmill.recipe import Recipe, RecipeError, Rule, Setting, assign, extend, parse_toml

TOML = """
name = "mix"
default = "small"
layer = 'blk\\.(\\d+)\\.'

[[roles]]
name = "value"
tensors = ['attn_v\\.weight']
position = "order"
among = "role"

[[roles]]
name = "output"
tensors = ['^output\\.weight$']

[[keep]]
tensors = ['_norm\\.weight']

[[keep]]
when = { dimensions_below = 2 }

[[rules]]
roles = ["output"]
when = { divisible_by = 256 }
type = "big"

[[rules]]
roles = ["value"]
when = { more_bits = true, gqa_at_least = 2 }
type = "big"

[[rules]]
tensors = ['ffn_down']
when = { first = "1/8" }
type = "middle"

[[rules]]
tensors = ['ffn_down']
when = { last = 1 }
type = "middle"

[fallbacks]
big = ["middle"]
"""


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, dtype="F16", shape=shape or (64, 64))


def types(recipe: Recipe, *tensors: Tensor, overrides: tuple[Rule, ...] = (), **setting: object) -> list[str | None]:
    given = Setting(**{"layers": 8, "gqa": 2, **setting})  # type: ignore[arg-type]
    return [found.type for found in assign(recipe, tensors, given, fits=lambda _, __: True, overrides=overrides)]


def test_the_first_rule_that_applies_settles_a_tensor() -> None:
    recipe = parse_toml(TOML)
    assert types(recipe, tensor("output.weight", 8, 256), tensor("output.weight", 8, 255)) == ["big", "small"]


def test_kept_tensors_have_no_type() -> None:
    assert types(parse_toml(TOML), tensor("blk.0.attn_norm.weight"), tensor("blk.0.ffn_down.bias", 5)) == [None, None]


def test_shares_of_the_layers_round_down() -> None:
    names = [tensor(f"blk.{layer}.ffn_down.weight") for layer in range(9)]
    assert types(parse_toml(TOML), *names, layers=9) == ["middle", *["small"] * 7, "middle"]
    assert types(parse_toml(TOML), *names[:7], layers=7) == [*["small"] * 6, "middle"]


def test_more_bits_is_the_first_and_last_eighth_and_every_third_between() -> None:
    names = [tensor(f"blk.{layer}.attn_v.weight") for layer in range(16)]
    found = types(parse_toml(TOML), *names)
    assert [layer for layer, kind in enumerate(found) if kind == "big"] == [0, 1, 4, 7, 10, 13, 14, 15]
    assert set(types(parse_toml(TOML), *names, gqa=1)) == {"small"}


def test_an_override_goes_before_the_rules_and_takes_no_place_in_the_order() -> None:
    names = [tensor(f"blk.{layer}.attn_v.weight") for layer in range(8)]
    override = (Rule(type="other", tensors=(r"blk\.0\.",)),)
    found = types(parse_toml(TOML), *names, overrides=override)
    assert found == ["other", "big", "small", "small", "big", "small", "small", "big"]


def test_a_fallback_is_taken_where_the_shape_does_not_suit() -> None:
    (found,) = assign(
        parse_toml(TOML), [tensor("output.weight", 8, 256)], Setting(), fits=lambda kind, _: kind != "big"
    )
    assert (found.type, found.wanted) == ("middle", "big")


def test_no_fallback_is_one_sentence_that_names_the_tensor() -> None:
    with pytest.raises(RecipeError, match=r"'output\.weight' of shape \[8, 256\] cannot be of type big"):
        assign(parse_toml(TOML), [tensor("output.weight", 8, 256)], Setting(), fits=lambda *_: False)


def test_a_recipe_survives_json_and_equals_itself() -> None:
    recipe = parse_toml(TOML)
    assert Recipe.parse(json.loads(json.dumps(recipe.as_table(), sort_keys=True))) == recipe


def test_a_recipe_that_extends_another_goes_first() -> None:
    own = Recipe.parse({"extends": "mix", "rules": [{"tensors": ["attn_v"], "type": "own"}]})
    with pytest.raises(RecipeError, match="'mix'"):
        types(own, tensor("blk.0.attn_v.weight"))
    both = extend(own, parse_toml(TOML))
    found = types(both, tensor("blk.0.attn_v.weight"), tensor("x.weight"), tensor("blk.0.ffn_down.weight"))
    assert found == ["own", "small", "middle"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("rules = 3", "'rules' must be a list of tables"),
        ("[[rules]]\ntype = 'x'\ntensor = ['a']", "In rules 1, 'tensor' is not known; did you mean 'tensors'?"),
        ("[[rules]]\ntensors = ['a']", "In rules 1, 'type' must be a string, not None."),
        ("[[rules]]\ntype='x'\n[[rules]]\ntype='x'\ntensors = ['(']", "In rules 2, '\\(' is not a regular expression"),
        ("[[rules]]\ntype='x'\nwhen={more_bit=true}", "In rules 1, when, 'more_bit' is not known; did you mean"),
        ("[[rules]]\ntype='x'\nwhen={first='1/0'}", "In rules 1, when, 'first' must be a number of layers or a share"),
        ("[[rules]]\ntype='x'\nwhen={imatrix=1}", "In rules 1, when, 'imatrix' must be true or false, not 1."),
        ("[[rules]]\ntype='x'\nwhen={divisible_by=0}", "'divisible_by' must be a whole number, not 0."),
        ("[[rules]]\ntype='x'\nwhen=true", "'when' must be a table, not True."),
        ("[[roles]]\nname='a'\ntensors=['a']\nposition='place'", "'position' must be one of layer, order"),
        ("layer = 'blk'", "'layer' must have one group"),
        ("fallbacks = { a = 'b' }", "In fallbacks, 'a' must be a list of strings, not 'b'."),
        ("a = ", "The recipe is not TOML"),
    ],
)
def test_faults_are_named_exactly(toml: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_toml(toml)


def test_a_rule_with_an_unknown_role_lists_the_roles() -> None:
    recipe = Recipe.parse({"default": "x", "rules": [{"roles": ["value"], "type": "y"}]})
    with pytest.raises(RecipeError, match="names the role 'value', and the recipe has the roles: none"):
        types(recipe, tensor("a"))
