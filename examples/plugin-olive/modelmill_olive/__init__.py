"""Microsoft Olive's workflows as steps: the format `olive-workflow`, and a converter that runs one."""

from collections.abc import Iterable

from modelmill import Converter, Format, Input, Toolchain, hookimpl

from modelmill_olive import plan, workflow

MODELMILL_API = 1

OLIVE = Toolchain(
    name="olive",
    requires=(
        "olive-ai==0.13.0",
        "requests>=2.33",  # which Olive imports and does not ask for
        "onnxruntime-genai==0.14.1",  # whose model builder goes with transformers 4; Olive asks for neither
        "onnxruntime==1.31.1",
        "transformers==4.57.6",
        "torch==2.13.0",
    ),
)
"""The newest versions that were found to work together; Olive's own requirements resolve to some that do not."""


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format of the input that says what to do."""
    yield Format(
        name=workflow.NAME, schemes=(), detect=workflow.detect, facts=workflow.facts, validate=workflow.validate
    )


@hookimpl
def modelmill_converters() -> Iterable[Converter[plan.Options]]:
    """The converter that runs it."""
    yield Converter(
        name="huggingface-to-onnx-olive",
        takes="huggingface",
        gives="onnx",
        schemes=tuple(plan.PRECISIONS),
        options=plan.Options,
        run=plan.run,
        infer=plan.infer,
        estimate=plan.estimate,
        reads=plan.READS,
        inputs={"workflow": Input(format=workflow.NAME, reads=("*.json",))},
        toolchain=OLIVE,
    )
