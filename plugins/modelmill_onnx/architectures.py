"""The architectures that the model builder of onnxruntime-genai 0.18 makes a causal language model of."""

from typing import Final

BUILDABLE: Final = (
    "Ernie4_5ForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "GemmaForCausalLM",
    "GraniteForCausalLM",
    "HunYuanDenseV1ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "NemotronForCausalLM",
    "OlmoForCausalLM",
    "Phi3ForCausalLM",
    "PhiForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "SmolLM3ForCausalLM",
)
"""Left out: what needs the checkpoint's own code (ChatGLM, InternLM2, Phi3Small, Phi4MM), what the builder makes
for CUDA alone (PhiMoE), experts (GptOss, GraniteMoeHybrid, Lfm2Moe), state-space hybrids, speech and vision."""


def genai_type(architecture: str) -> str:
    """The name that the builder gives a model in genai_config.json (`model.type`)."""
    return "gemma3_text" if architecture == "Gemma3ForCausalLM" else architecture.split("For", maxsplit=1)[0].lower()
