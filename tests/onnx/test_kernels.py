"""Every algorithm on one matrix: never far worse than rounding to nearest, and better where it looks at more."""

from typing import Any

import numpy as np
import pytest

from modelmill_onnx import kernels
from modelmill_onnx.blocks import Grid, Packed, unpack
from modelmill_onnx.gptq import gptq

WIDTH, ROWS = 128, 48
NOISE = np.random.default_rng(0).standard_normal((WIDTH, ROWS)).astype(np.float32)
MATRICES = {
    "even": 0.02 * NOISE,
    "all above zero": 0.2 + 0.02 * NOISE,
    "all below zero": 0.02 * NOISE - 0.2,
    "just above zero": 0.001 + 0.02 * np.abs(NOISE),
    "some rows above zero": np.where(np.arange(ROWS) % 2, 0.02 * NOISE, 1 + 0.001 * NOISE),
    "constant": np.full((WIDTH, ROWS), 0.02, np.float32),
    "constant below zero": np.full((WIDTH, ROWS), -3, np.float32),
    "zero": np.zeros((WIDTH, ROWS), np.float32),
    "tiny": 1e-5 * NOISE,
}
LOOK_AT_WEIGHTS = {"mse": kernels.mse, "k_quant": kernels.k_quant, "hqq": kernels.hqq}


@pytest.fixture(scope="module")
def activations() -> Any:
    """A text's activations [tokens, WIDTH]: a few large channels, and channels that move together."""
    chance = np.random.default_rng(1)
    own, shared = chance.standard_normal((512, WIDTH)), chance.standard_normal((512, 8))
    sizes = np.exp(chance.standard_normal(WIDTH))
    return ((own + shared @ chance.standard_normal((8, WIDTH))) * sizes).astype(np.float32)


def quantized(algorithm: str, weight: Any, activations: Any, grid: Grid) -> Any:
    """The values [K, N] that the algorithm leaves of a matrix."""
    found: Packed
    if algorithm == "importance":
        found = kernels.weighted(weight, np.square(activations).mean(0), grid)
    elif algorithm == "gptq":
        found = gptq(weight, (activations.T @ activations).astype(np.float64), grid)
    else:
        found = {"rtn": kernels.rtn, **LOOK_AT_WEIGHTS}[algorithm](weight, grid)
    return unpack(found, grid, WIDTH)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("algorithm", ["mse", "k_quant", "hqq", "importance", "gptq"])
@pytest.mark.parametrize("name", MATRICES)
def test_no_block_loses_more_than_by_rounding(activations: Any, name: str, algorithm: str, bits: int) -> None:
    weight = MATRICES[name].astype(np.float32)
    for symmetric in (False, True) if algorithm not in ("k_quant", "hqq") else (False,):
        grid = Grid(bits=bits, block_size=32, symmetric=symmetric)
        lost = {}
        for way in ("rtn", algorithm):
            error = quantized(way, weight, activations, grid) - weight
            # These two take errors where no activation meets them.
            seen = error if algorithm in LOOK_AT_WEIGHTS else activations @ error
            lost[way] = np.sqrt(np.square(seen, dtype=np.float64).mean())
        assert lost[algorithm] <= 1.5 * lost["rtn"] + 1e-5 * np.abs(weight).max()


@pytest.mark.parametrize("grid", ["symmetric", "with zero points"])
@pytest.mark.parametrize("bits", [4, 8])
def test_what_looks_at_more_leaves_less(activations: Any, bits: int, grid: str) -> None:
    weight = MATRICES["even"]
    chosen = Grid(bits=bits, block_size=32, symmetric=grid == "symmetric")
    errors = {way: quantized(way, weight, activations, chosen) - weight for way in ("rtn", "mse", "importance", "gptq")}
    own = {way: float(np.square(error).sum()) for way, error in errors.items()}
    price = np.square(activations).mean(0)[:, None]
    alone = {way: float((np.square(error) * price).sum()) for way, error in errors.items()}
    together = {way: float(np.square(activations @ error).sum()) for way, error in errors.items()}
    assert own["mse"] < 0.99 * own["rtn"]
    assert alone["importance"] < 0.8 * alone["rtn"]
    assert together["gptq"] < 0.7 * together["rtn"]
    assert together["gptq"] < 0.95 * together["importance"]
