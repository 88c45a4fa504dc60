"""MLX by mlx-lm itself: a second way into a format that another plugin owns, in an environment of its own."""

from collections.abc import Iterable

from modelmill import Converter, Toolchain, hookimpl

from modelmill_mlx_lm import plan

MODELMILL_API = 1

MLX_LM = Toolchain(
    name="mlx-lm",
    requires=(
        "mlx-lm==0.32.2",
        "transformers==5.23.0",
        "mlx[cpu]==0.32.4; sys_platform == 'linux'",
        "mlx==0.32.4; sys_platform == 'darwin'",
    ),
)
"""mlx-lm needs transformers 5, where optimum-onnx and Olive need 4; none of the three needs to know."""


@hookimpl
def modelmill_converters() -> Iterable[Converter[plan.Options]]:
    """The one converter."""
    yield Converter(
        name="huggingface-to-mlx-lm",
        takes="huggingface",
        gives="mlx",
        schemes=tuple(plan.SCHEMES),
        options=plan.Options,
        run=plan.run,
        infer=plan.infer,
        estimate=plan.estimate,
        reads=("config.json", "model*.safetensors", "model.safetensors.index.json", *plan.COPIED),
        toolchain=MLX_LM,
    )
