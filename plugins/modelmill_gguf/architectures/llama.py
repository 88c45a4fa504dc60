"""llama: Llama 2 and 3.x, SmolLM2, and everything else with their class; Mistral, which is the same in llama.cpp."""

from collections.abc import Iterator
from dataclasses import replace
from math import pi

from modelmill import ConvertError
from modelmill_gguf.architectures import common, refusals, rope
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, Extra, attention, gated_mlp, norms
from modelmill_gguf.fields import Field, uint32
from modelmill_gguf.hyperparameters import Hyperparameters, positive
from modelmill_gguf.precision import rounded

DEFAULTS = {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0}


def llama_fields(name: str, model: Hyperparameters) -> list[Field]:
    """The metadata of llama and of its variants."""
    return [
        *common.sizes(name, model),
        *rope.fields(name, model),
        uint32(f"{name}.vocab_size", model.vocabulary),
        uint32(f"{name}.rope.dimension_count", model.head),
    ]


def frequency_factors(model: Hyperparameters) -> tuple[Extra, ...]:
    """Llama 3.1's stretching of the rotary embedding, as the factors that ggml divides the frequencies by.

    Source: transformers' `_compute_llama3_parameters`. The frequencies are computed in single precision, as
    there, because the comparison with the wavelengths decides on them.
    """
    if model.rope.get("rope_type") != "llama3":
        return ()
    factor = positive(model.rope.get("factor", 8.0), "factor")
    low = positive(model.rope.get("low_freq_factor", 1.0), "low_freq_factor")
    high = positive(model.rope.get("high_freq_factor", 4.0), "high_freq_factor")
    if low >= high:
        raise ConvertError(
            f"config.json: low_freq_factor must be below high_freq_factor, and they are {low:g} and {high:g}."
        )
    try:
        factors = tuple(_factors(model, factor, low, high))
    except (OverflowError, ZeroDivisionError):
        raise ConvertError(
            f"config.json: rope_theta is {model.rope_base:g}, and factor, low_freq_factor and high_freq_factor of the "
            f"rope scaling llama3 are {factor:g}, {low:g} and {high:g}, which single precision cannot compute with; "
            "take those that the model was trained with."
        ) from None
    return (Extra(name="rope_freqs.weight", values=factors),)


def _factors(model: Hyperparameters, factor: float, low: float, high: float) -> Iterator[float]:
    """One factor for each pair of values. OverflowError or ZeroDivisionError where single precision does not reach."""
    original = model.original_context
    for at in range(0, model.head, 2):
        frequency = rounded(1.0 / rounded(model.rope_base ** rounded(at / model.head)))
        wavelength = rounded(rounded(2 * pi) / frequency)
        if wavelength < original / high:
            yield 1.0
        elif wavelength > original / low:
            yield factor
        else:
            smooth = rounded(rounded(rounded(original / wavelength) - low) / rounded(high - low))
            yield rounded(1 / rounded(rounded(rounded(1 - smooth) / rounded(factor)) + smooth))


def refuse(model: Hyperparameters) -> str | None:
    """A mixture of experts, which some checkpoints call by the same name; another activation or rotary embedding."""
    if model.config.get("num_local_experts"):
        return "a mixture of experts is not supported"
    return refusals.activation("llama", model, refusals.SILU) or rope.refuse("llama", model, "linear", "yarn", "llama3")


LLAMA = Architecture(
    name="llama",
    classes=("LlamaForCausalLM",),
    rules=(*EMBEDDINGS, *norms(), *attention(permuted=True), *gated_mlp()),
    fields=lambda model: [*llama_fields("llama", model), *common.head_lengths("llama", model)],
    defaults=DEFAULTS,
    extras=frequency_factors,
    refuse=refuse,
    says_space_prefix=True,
)

MISTRAL = replace(
    LLAMA,
    classes=("MistralForCausalLM",),
    defaults={**DEFAULTS, "max_position_embeddings": 131_072},
    tell=lambda model: refusals.told_window("llama", model),
)
