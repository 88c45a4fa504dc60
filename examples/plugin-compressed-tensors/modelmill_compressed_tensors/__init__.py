"""The format `compressed-tensors`, which vLLM loads, and the way into it: W4A16."""

from collections.abc import Iterable

from modelmill import Converter, Format, hookimpl

from modelmill_compressed_tensors import model, plan

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format that this plugin owns."""
    yield Format(
        name=plan.NAME,
        schemes=plan.SCHEMES,
        detect=model.detect,
        facts=model.facts,
        validate=model.validate,
        usage="vllm serve {path}",
    )


@hookimpl
def modelmill_converters() -> Iterable[Converter[plan.Options]]:
    """The way into it."""
    yield Converter(
        name="huggingface-to-compressed-tensors",
        takes="huggingface",
        gives=plan.NAME,
        schemes=plan.SCHEMES,
        options=plan.Options,
        run=plan.run,
        infer=plan.infer,
        estimate=plan.estimate,
        reads=("config.json", "*.safetensors", "*.safetensors.index.json", *plan.COPIED),
        tools=("numpy",),
        requirement="modelmill-compressed-tensors[tools]",
    )
