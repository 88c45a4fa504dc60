"""What a configuration asks for that llama.cpp computes otherwise, or not at all; each is said in half a sentence."""

from collections.abc import Sequence

from modelmill_gguf.hyperparameters import Hyperparameters, number

SILU = ("silu", "swish")
GELU_TANH = ("gelu_pytorch_tanh", "gelu_new")
SLIDING, FULL = "sliding_attention", "full_attention"


def activation(name: str, model: Hyperparameters, computed: tuple[str, ...], key: str = "hidden_act") -> str | None:
    """Another activation between the halves of the feed-forward network than the one that is written into llama.cpp.

    `computed` are transformers' names of it. Source: `build_ffn` in llama.cpp's src/models.
    """
    asked = model.config.get(key, computed[0])
    if asked in computed:
        return None
    return f"config.json says {key} = {asked!r}, and llama.cpp's {name} computes {computed[0]}"


def window(name: str, model: Hyperparameters, sliding: Sequence[bool]) -> str | None:
    """A sliding window, in an architecture that has none in llama.cpp, where some layer uses it and it matters.

    `sliding` says which layers use it where config.json does not list `layer_types`. A window that is as long as the
    context leaves nothing out.
    """
    kinds = model.config.get("layer_types")
    used = any(sliding) if kinds is None else isinstance(kinds, list) and SLIDING in kinds
    size = model.config.get("sliding_window")
    if not used or size is None or number(size, "sliding_window") >= model.context:
        return None
    return f"config.json sets a sliding window of {size} tokens, and llama.cpp's {name} attends to all of them"


def upper_layers(model: Hyperparameters) -> list[bool]:
    """The layers that use the window in Qwen's way: where it is switched on, those from `max_window_layers` on."""
    first = number(model.config.get("max_window_layers", 0), "max_window_layers")
    return [bool(model.config.get("use_sliding_window")) and at >= first for at in range(model.layers)]


def told_window(name: str, model: Hyperparameters) -> str | None:
    """A window that llama.cpp's own script leaves out of models that are widely used so: told, not refused."""
    size = model.config.get("sliding_window")
    if size is None or number(size, "sliding_window") >= model.context:
        return None
    return (
        f"config.json sets a sliding window of {size} tokens, and llama.cpp's {name} attends to all of them: "
        "what it says of longer texts is not what the model was trained to say."
    )
