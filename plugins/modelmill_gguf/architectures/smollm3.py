"""smollm3: Llama with every fourth layer without a rotary embedding."""

from modelmill_gguf.architectures import common, refusals, rope
from modelmill_gguf.architectures.llama import DEFAULTS, llama_fields
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, attention, gated_mlp, norms
from modelmill_gguf.hyperparameters import Hyperparameters

_STEP = 4  # fixed in llama.cpp: hparams.n_no_rope_layer_step


def refuse(model: Hyperparameters) -> str | None:
    """llama.cpp knows one interval of layers without a rotary embedding, one activation, and no window."""
    listed = model.config.get("no_rope_layers")
    if listed is None:
        fits = model.config.get("no_rope_layer_interval", _STEP) == _STEP
    else:
        fits = listed == [int((at + 1) % _STEP != 0) for at in range(model.layers)]
    if not fits:
        return "llama.cpp leaves out the rotary embedding in every fourth layer only"
    sliding = [bool(model.config.get("use_sliding_window")) and (at + 1) % _STEP == 0 for at in range(model.layers)]
    return (
        refusals.activation("smollm3", model, refusals.SILU)
        or refusals.window("smollm3", model, sliding)
        or rope.refuse("smollm3", model, "linear", "yarn")
    )


SMOLLM3 = Architecture(
    name="smollm3",
    classes=("SmolLM3ForCausalLM",),
    rules=(*EMBEDDINGS, *norms(), *attention(permuted=True), *gated_mlp()),
    fields=lambda model: [*llama_fields("smollm3", model), *common.stated_head_lengths("smollm3", model)],
    defaults={**DEFAULTS, "max_position_embeddings": 32_768, "rope_theta": 2_000_000.0},
    refuse=refuse,
    tied_by_default=True,
    says_space_prefix=True,
)
