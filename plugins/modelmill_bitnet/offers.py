"""The records that this plugin offers."""

from modelmill import Converter, Job
from modelmill_bitnet.layout import SCHEMES
from modelmill_bitnet.predict import Options, estimate, infer


def _run(job: Job[Options]) -> None:
    from modelmill_bitnet.convert import run

    run(job)


TO_GGUF = Converter(
    name="bitnet-to-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=SCHEMES,
    options=Options,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=("*.safetensors", "*.json", "tokenizer.model", "chat_template.jinja", "README.md"),
    tools=("numpy",),
    requirement="modelmill[gguf]",
)
