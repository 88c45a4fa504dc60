"""What a runtime's own model store wants beside the files that ONNX Runtime GenAI loads."""

import json
from pathlib import Path
from typing import Any

from modelmill import ConvertError

MARK = "{Content}"
_NO_CLOCK = "{% set strftime_now = the_day_of_the_build %}\n"
"""Begins a template that is not told the day, which would be in the bytes: it falls back to a date, or is refused."""


def add_foundry_local(source: Path, out: Path, name: str) -> None:
    """Write `inference_model.json`, without which Foundry Local's scanner passes the folder by.

    Keys: microsoft/Foundry-Local, sdk_v2/cpp/src/download/inference_model_writer.cc. The scanner looks below a
    publisher's folder, so the artifact goes to `<cache>/<publisher>/<name>/`, as files and not as links.
    """
    content = {"Name": name, "PromptTemplate": _prompt_template(source)}
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (out / "inference_model.json").write_text(text, encoding="utf-8")


def _prompt_template(source: Path) -> dict[str, str] | None:
    """One user's turn by the checkpoint's chat template; None for a model without one. ConvertError."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    if not tokenizer.chat_template:
        return None
    turn = [{"role": "user", "content": MARK}]
    template = _NO_CLOCK + tokenizer.get_chat_template()
    prompt: str = tokenizer.apply_chat_template(
        turn, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    if MARK not in prompt:
        raise ConvertError("it leaves out what the user says")
    return {"assistant": MARK, "prompt": prompt}
