"""config.json, generation_config.json and the model card, rebuilt from a GGUF header's metadata."""

from collections.abc import Mapping
from typing import Any

from modelmill import ConvertError
from modelmill_gguf.precision import rounded

WRITTEN_FOR = "4.57.1"
"""The version of transformers whose spelling of config.json this is. Without `transformers_version`, versions
around it warn of a broken tokenizer for every folder."""
_TORCH = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_MODELS = {
    "llama": ("LlamaForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text"),
}
ARCHITECTURES = tuple(_MODELS)
_SLIDING_PATTERN = 6
_SAMPLING = {
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "temp": "temperature",
    "penalty_repeat": "repetition_penalty",
}


def rebuild_config(
    metadata: Mapping[str, Any], special: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], scheme: str
) -> dict[str, Any]:
    """config.json of a checkpoint in `scheme`; `shapes` are those of the GGUF file's tensors by name.

    Raises ConvertError for an architecture, or a feature of one, that is not rebuilt, and for missing metadata.
    """
    name = metadata.get("general.architecture")
    if name not in _MODELS:
        raise ConvertError(
            f"a GGUF file of the architecture {name!r} is not turned back into a checkpoint; "
            f"{', '.join(_MODELS)} are: use the original checkpoint"
        )
    _refuse(name, metadata, shapes)
    read = _Reader(metadata, name)
    vocabulary, width = shapes.get("token_embd.weight", (0, 0))
    heads = read.count("attention.head_count")
    architecture, model_type = _MODELS[name]
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_size": width,
        "vocab_size": vocabulary,
        "intermediate_size": read.count("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": read.count("attention.head_count_kv", heads),
        "num_hidden_layers": read.count("block_count"),
        "max_position_embeddings": read.count("context_length"),
        "rms_norm_eps": shortest(read.real("attention.layer_norm_rms_epsilon")),
        "rope_theta": shortest(read.real("rope.freq_base", 10_000.0)),
        "head_dim": read.count("attention.key_length", width // heads),
        "initializer_range": 0.02,
        "rope_scaling": _rope_scaling(metadata, name),
        "tie_word_embeddings": "output.weight" not in shapes,
        "torch_dtype": _TORCH[scheme],
        "use_cache": True,
        "transformers_version": WRITTEN_FOR,
        **{f"{role}_token_id": at for role, at in _ids(special).items()},
    }
    return {**config, **_particular(name, read, config)}


def configuration(details: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What a GGUF file's header says of the model in config.json's words; empty where it cannot be said so."""
    try:
        special = (details["vocabulary"] or {"special": {}})["special"]
        return rebuild_config(details["metadata"], special, shapes, "BF16")
    except (ConvertError, KeyError):
        return {}


def _particular(name: str, read: "_Reader", config: Mapping[str, Any]) -> dict[str, Any]:
    """What only one architecture's configuration has."""
    if name == "gemma3":
        layers = range(config["num_hidden_layers"])
        kinds = ["sliding_attention" if (at + 1) % _SLIDING_PATTERN else "full_attention" for at in layers]
        return {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": config["head_dim"],
            "sliding_window": read.count("attention.sliding_window"),
            "rope_local_base_freq": shortest(read.real("rope.freq_base_swa", 10_000.0)),
            "attn_logit_softcapping": None,
            "final_logit_softcapping": read.optional("final_logit_softcapping"),
            "layer_types": kinds,
        }
    if name == "llama":
        return {"hidden_act": "silu", "mlp_bias": False}
    return {"hidden_act": "silu", "use_sliding_window": False, "attention_bias": name == "qwen2"}


def _refuse(name: str, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    if "rope_freqs.weight" in shapes:
        raise ConvertError(
            "the GGUF file stretches its rotary embedding by factors of its own (rope_freqs.weight), "
            "whose parameters it no longer holds: use the original checkpoint"
        )
    if metadata.get(f"{name}.expert_count"):
        raise ConvertError("a mixture of experts is not turned back into a checkpoint: use the original")
    if len(shapes.get("token_embd.weight", ())) != 2:  # noqa: PLR2004 - a matrix
        raise ConvertError("the GGUF file has no token embeddings (token_embd.weight)")


def _rope_scaling(metadata: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    kind = metadata.get(f"{name}.rope.scaling.type")
    factor = metadata.get(f"{name}.rope.scaling.factor")
    if kind in (None, "none"):
        return None
    if kind not in ("linear", "yarn") or not isinstance(factor, float):
        raise ConvertError(f"the rope scaling {kind!r} is not turned back into a configuration")
    found: dict[str, Any] = {"rope_type": kind, "factor": shortest(factor)}
    original = metadata.get(f"{name}.rope.scaling.original_context_length")
    if kind == "yarn" and isinstance(original, int):
        found["original_max_position_embeddings"] = original
    return found


def rebuild_generation(metadata: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """generation_config.json: where generation begins and ends, and how the model's authors sample."""
    found: dict[str, Any] = {f"{role}_token_id": at for role, at in _ids(special).items()}
    if "eot" in special and "eos" in special and special["eot"][0] != special["eos"][0]:
        found["eos_token_id"] = [special["eos"][0], special["eot"][0]]
    for key, name in _SAMPLING.items():
        stated = metadata.get(f"general.sampling.{key}")
        if isinstance(stated, int | float):
            found[name] = shortest(stated) if isinstance(stated, float) else stated
    if found.keys() & set(_SAMPLING.values()):
        found["do_sample"] = True
    return found


def rebuild_card(metadata: Mapping[str, Any]) -> str:
    """README.md: a model card of what the GGUF file says of name, licence, base models and languages."""
    lines = ["---"]
    for key, name in (("license", "license"), ("license.name", "license_name"), ("license.link", "license_link")):
        if isinstance(stated := metadata.get(f"general.{key}"), str) and stated.isprintable():
            lines.append(f"{name}: {stated}")
    count = metadata.get("general.base_model.count")
    repositories = [
        metadata.get(f"general.base_model.{at}.repo_url") for at in range(count if isinstance(count, int) else 0)
    ]
    lines += _listing(
        "base_model", [str(each).removeprefix("https://huggingface.co/") for each in repositories if each]
    )
    lines += _listing("language", metadata.get("general.languages"))
    lines += ["---", ""]
    title = metadata.get("general.name")
    if isinstance(title, str) and title.isprintable():
        lines += [f"# {title}", ""]
    return "\n".join(lines)


def _listing(name: str, values: Any) -> list[str]:
    if not isinstance(values, list) or not values:
        return []
    return [f"{name}:", *(f"- {each}" for each in values if isinstance(each, str) and each.isprintable())]


def _ids(special: Mapping[str, Any]) -> dict[str, int]:
    roles = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {role: special[key][0] for role, key in roles.items() if key in special}


def shortest(value: float) -> float:
    """The number with the fewest digits that is the same in single precision: 1e-05 for 9.99999974e-06."""
    single = rounded(value)
    candidates = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((found for found in candidates if rounded(found) == single), value)


class _Reader:
    """Numbers of one architecture's metadata, each checked."""

    __slots__ = ("_metadata", "_name")

    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self._metadata = metadata
        self._name = name

    def count(self, key: str, default: int | None = None) -> int:
        found = self._metadata.get(f"{self._name}.{key}", default)
        if type(found) is not int or not 0 < found < 2**31:
            raise ConvertError(f"the GGUF file's {self._name}.{key} must be a positive number, and is {found!r:.40}")
        return found

    def real(self, key: str, default: float | None = None) -> float:
        found = self._metadata.get(f"{self._name}.{key}", default)
        if not isinstance(found, float) or not 0 < found < 1e12:  # noqa: PLR2004 - no model is beyond it
            raise ConvertError(f"the GGUF file's {self._name}.{key} must be a positive number, and is {found!r:.40}")
        return found

    def optional(self, key: str) -> float | None:
        return shortest(self.real(key)) if f"{self._name}.{key}" in self._metadata else None
