"""Recipes: which tensor of a model gets which type, as data that people read and share.

A recipe is TOML. Its rules are tried in order, and the first one that applies settles the tensor:

    name = "Q4_K_M"
    default = "Q4_K"                      # where no rule applies
    layer = 'blk\\.(\\d+)\\.'                # the layer's number in a tensor's name

    [[roles]]                             # a name for a group of tensors; the first role that matches counts
    name = "attention_v"
    tensors = ['attn_v\\.weight']          # regular expressions, searched for in the tensor's name

    [[keep]]                              # what is never quantized
    tensors = ['_norm\\.weight']

    [[rules]]
    roles = ["attention_v"]
    when = { more_bits = true }           # every condition must hold; `When` lists them all
    type = "Q6_K"

    [fallbacks]                           # what to take where a tensor's shape does not suit a type
    Q4_K = ["Q5_0", "F16"]

Type names are the format's own and mean nothing here. `extends` names another recipe, which the plugin that owns
the format looks up and puts behind this one with `extend`.
"""

from modelmill.errors import RecipeError
from modelmill.recipe.assign import Assignment, Setting, assign, check_matched
from modelmill.recipe.grammar import Keep, Recipe, Role, Rule, When, extend, parse_toml

__all__ = [
    "Assignment",
    "Keep",
    "Recipe",
    "RecipeError",
    "Role",
    "Rule",
    "Setting",
    "When",
    "assign",
    "check_matched",
    "extend",
    "parse_toml",
]
