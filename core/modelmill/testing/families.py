"""How the model families tokenize: their special tokens, their chat templates, and how they cut a text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + ' ' + eos_token }}{% else %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant'"
    " else message['role']) + '\n' + message['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QWEN_2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_3_SPLIT = QWEN_2_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
PHI_4_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TEKKEN_SPLIT = PHI_4_SPLIT.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
QWEN_35_SPLIT = QWEN_2_SPLIT.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
DEEPSEEK_3_SPLITS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family of models tokenizes."""

    bos: str | None
    eos: str
    unk: str | None = None
    pad: str | None = None
    first: tuple[str, ...] = ()
    """Special tokens before the vocabulary, in the order of their ids."""
    last: tuple[str, ...] = ()
    """Special tokens after it."""
    template: str
    adds_bos: bool = False
    tokenizer_class: str
    pre_tokenizer: Mapping[str, Any] | None = None
    normalizer: Mapping[str, Any] | None = None
    dummy_prefix: bool = False
    words: tuple[str, ...] = ()
    """Tokens that no merges lead to, for a model that looks whole words up first."""


def _split(*patterns: str) -> dict[str, Any]:
    """A pre-tokenizer that cuts by patterns, one after another, and then maps bytes to characters."""
    return {
        "type": "Sequence",
        "pretokenizers": [
            *(
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
                for pattern in patterns
            ),
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}

_LLAMA_3 = Family(
    bos="<|begin_of_text|>",
    eos="<|eot_id|>",
    last=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    template=LLAMA_3,
    adds_bos=True,
    tokenizer_class="PreTrainedTokenizerFast",
    pre_tokenizer=_split(LLAMA_3_SPLIT),
)
FAMILIES: Mapping[str, Family] = {
    "smollm": Family(
        bos="<|im_start|>",
        eos="<|im_end|>",
        unk="<|endoftext|>",
        pad="<|im_end|>",
        first=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        template=CHATML,
        tokenizer_class="GPT2Tokenizer",
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
    ),
    "llama-3": _LLAMA_3,
    "llama-3.1": replace(_LLAMA_3, words=("Ġinterpreter", "dog", "Ġ>=")),
    "tekken": Family(
        bos="<s>",
        eos="</s>",
        unk="<unk>",
        pad="<pad>",
        first=("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"),
        template=LLAMA_2,
        adds_bos=True,
        tokenizer_class="PreTrainedTokenizerFast",
        pre_tokenizer=_split(TEKKEN_SPLIT),
        words=("Ġinterpreter", "dog", "Ġ>="),
    ),
    "gpt-2": Family(
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        unk="<|endoftext|>",
        last=("<|endoftext|>",),
        template=CHATML,
        tokenizer_class="GPT2Tokenizer",
        pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ),
    "deepseek-v3": Family(
        bos="<\uff5cbegin▁of▁sentence\uff5c>",
        eos="<\uff5cend▁of▁sentence\uff5c>",
        pad="<\uff5c▁pad▁\uff5c>",
        first=("<\uff5cbegin▁of▁sentence\uff5c>", "<\uff5cend▁of▁sentence\uff5c>", "<\uff5c▁pad▁\uff5c>"),
        template=CHATML,
        adds_bos=True,
        tokenizer_class="PreTrainedTokenizerFast",
        pre_tokenizer=_split(*DEEPSEEK_3_SPLITS),
    ),
    "qwen3.5": Family(
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        last=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        template=CHATML,
        tokenizer_class="Qwen2Tokenizer",
        pre_tokenizer=_split(QWEN_35_SPLIT),
        normalizer={"type": "NFC"},
    ),
    "qwen2": Family(
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        last=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        template=CHATML,
        tokenizer_class="Qwen2Tokenizer",
        pre_tokenizer=_split(QWEN_2_SPLIT),
        normalizer={"type": "NFC"},
    ),
    "llama-2": Family(
        bos="<s>",
        eos="</s>",
        unk="<unk>",
        first=("<unk>", "<s>", "</s>"),
        template=LLAMA_2,
        adds_bos=True,
        tokenizer_class="LlamaTokenizer",
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, _SPACES]},
        dummy_prefix=True,
    ),
    "phi-3": Family(
        bos="<s>",
        eos="<|endoftext|>",
        unk="<unk>",
        pad="<|endoftext|>",
        first=("<unk>", "<s>", "</s>"),
        last=("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        template=PHI_3,
        tokenizer_class="LlamaTokenizer",
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, _SPACES]},
        dummy_prefix=True,
    ),
    "phi-4": Family(
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        unk="<|endoftext|>",
        pad="<|endoftext|>",
        last=("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        template=PHI_3,
        tokenizer_class="GPT2Tokenizer",
        pre_tokenizer=_split(PHI_4_SPLIT),
    ),
    "gemma": Family(
        bos="<bos>",
        eos="<eos>",
        unk="<unk>",
        pad="<pad>",
        first=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"),
        template=GEMMA,
        adds_bos=True,
        tokenizer_class="GemmaTokenizer",
        pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        normalizer=_SPACES,
    ),
}
