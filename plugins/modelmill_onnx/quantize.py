"""An ONNX model's matrices → MatMulNBits and GatherBlockQuantized, weight by weight."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from modelmill import ConvertError, Job, Tensor, create
from modelmill.recipe import RecipeError, Setting
from modelmill_onnx import kernels, rewrite
from modelmill_onnx.assignment import algorithm_for, assign_bits, recipe_for
from modelmill_onnx.blocks import Array, Grid, Packed, report_padding
from modelmill_onnx.checker import check_graph
from modelmill_onnx.external import ExternalData, weight_values
from modelmill_onnx.format import GENAI, check_structure
from modelmill_onnx.options import QuantizeOptions
from modelmill_onnx.rewrite import Changes, Matrix, Stored
from modelmill_onnx.staged import DESCRIPTIONS, with_files

MODEL: Final = "model.onnx"
KERNELS: Final = {"rtn": kernels.rtn, "k_quant": kernels.k_quant, "hqq": kernels.hqq, "mse": kernels.mse}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One matrix to quantize: its tensor in the source, its users, and its integers."""

    tensor: onnx.TensorProto
    matrix: Matrix
    grid: Grid


def run(job: Job[QuantizeOptions]) -> None:
    """Quantize `model.onnx`; everything else of the folder travels along."""
    job = with_files(job)
    model = _load(job.source)
    tasks = _tasks(job, model)
    if not tasks:
        raise ConvertError(f"{MODEL}: there is no matrix that the recipe quantizes")
    changes = Changes()
    packed = _packed(job, model, list(tasks.values()))
    with create(job, f"{MODEL}.data") as file:
        data = ExternalData(file, f"{MODEL}.data")
        for tensor in model.graph.initializer:
            if tensor.name in tasks:
                task = tasks[tensor.name]
                stored = _stored(next(packed), task, data)
                rewrite.replace(task.matrix, task.grid, stored, job.options.accuracy_level, changes)
                report_padding(tensor.name, task.matrix.width, task.grid.block_size)
            elif tensor.data_location == onnx.TensorProto.EXTERNAL:
                raw = weight_values(tensor, job.source).reshape(-1).view(np.uint8).data
                changes.initializers.append(data.append(tensor.name, tensor.data_type, tuple(tensor.dims), raw))
            else:
                changes.initializers.append(tensor)
    rewrite.apply(model, changes)
    with create(job, MODEL) as file:
        file.write(model.SerializeToString(deterministic=True))
    _copy_rest(job)


def _load(folder: Path) -> onnx.ModelProto:
    """The sound graph of a folder that holds what ONNX Runtime GenAI wants. ConvertError."""
    if MODEL not in check_structure(folder) or not (folder / GENAI).is_file():
        raise ConvertError(f"onnx-quantize takes a folder with {MODEL} and {GENAI}, as huggingface-to-onnx writes it")
    check_graph(folder / MODEL)
    return onnx.load(str(folder / MODEL), load_external_data=False)


def _tasks(job: Job[QuantizeOptions], model: onnx.ModelProto) -> dict[str, Task]:
    """What to quantize, in the order of the initializers, by name."""
    decoder = json.loads((job.source / GENAI).read_text())["model"]["decoder"]
    matrices = {matrix.name: matrix for matrix in rewrite.find_matrices(model.graph)}
    setting = Setting(
        layers=decoder["num_hidden_layers"],
        gqa=decoder["num_attention_heads"] // decoder["num_key_value_heads"],
        tied=any(matrix.lookups and matrix.products for matrix in matrices.values()),
    )
    tensors = [Tensor(name=name, dtype=matrix.dtype, shape=matrix.shape) for name, matrix in matrices.items()]
    own = job.options.recipe
    try:
        bits = assign_bits(recipe_for(job.scheme, own), tensors, setting, own)
    except RecipeError as error:
        raise ConvertError(str(error)) from error
    return {
        tensor.name: Task(
            tensor=tensor,
            matrix=matrices[tensor.name],
            grid=Grid(bits=bits[tensor.name], block_size=job.options.block_size, symmetric=job.options.symmetric),
        )
        for tensor in model.graph.initializer
        if tensor.name in bits
    }


def _packed(job: Job[QuantizeOptions], model: onnx.ModelProto, tasks: list[Task]) -> Iterator[Packed]:
    """The quantized matrices in the order of the tasks, as many at work as there are threads."""
    halves = any(task.matrix.dtype == "float16" for task in tasks)
    algorithm = algorithm_for(job.options, job.scheme, job.inputs, "fp16" if halves else "fp32")
    done = _by_gptq(job, model, tasks) if algorithm == "gptq" else {}
    prices = _prices(job, model, tasks) if algorithm == "importance" else {}
    kernel = KERNELS.get(algorithm, kernels.mse)
    waiting: list[Future[Packed]] = []
    with ThreadPoolExecutor(job.limits.threads, initializer=_one_thread) as pool:
        for task in tasks:
            ready = done.pop(task.tensor.name, None)
            price = prices.get(task.tensor.name)
            own = kernel if price is None else partial(_weighted, price)
            waiting.append(pool.submit(_ready, ready) if ready else pool.submit(_work, job, own, task))
            if len(waiting) > job.limits.threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _ready(packed: Packed) -> Packed:
    return packed


def _one_thread() -> None:
    """Torch must sum in one order, however many threads there are."""
    import torch

    torch.set_num_threads(1)


def _work(job: Job[QuantizeOptions], kernel: kernels.Kernel, task: Task) -> Packed:
    return kernel(_oriented(job, task), task.grid)


def _weighted(price: Array, weight: Array, grid: Grid) -> Packed:
    return kernels.weighted(weight, price, grid)


def _users(tasks: list[Task]) -> dict[str, list[Task]]:
    """Who multiplies each activation; a table that is only looked up has none."""
    users: dict[str, list[Task]] = {}
    for task in tasks:
        for activation in task.matrix.activations[:1]:
            users.setdefault(activation, []).append(task)
    return users


def _prices(job: Job[QuantizeOptions], model: onnx.ModelProto, tasks: list[Task]) -> dict[str, Array]:
    """The mean squares that each matrix is multiplied with, from the calibration text or from made-up tokens."""
    from modelmill_onnx.calibrate import made_up_tokens, mean_squares, read_tokens

    users = _users(tasks)
    widths = {activation: found[0].matrix.width for activation, found in users.items()}
    text = job.inputs.get("calibration")
    chunks = read_tokens(text, job.source, job.options.calibration_chunks) if text else made_up_tokens(job.source)
    found = mean_squares(model, job.source, widths, chunks)
    return {task.tensor.name: found[activation] for activation, tasks in users.items() for task in tasks}


def _by_gptq(job: Job[QuantizeOptions], model: onnx.ModelProto, tasks: list[Task]) -> dict[str, Packed]:
    """What GPTQ makes of every matrix that is multiplied with; a table that is only looked up has no activations."""
    from modelmill_onnx.calibrate import hessians, read_tokens
    from modelmill_onnx.gptq import gptq

    users = _users(tasks)
    widths = {activation: found[0].matrix.width for activation, found in users.items()}
    chunks = read_tokens(job.inputs["calibration"], job.source, job.options.calibration_chunks)
    done = {}
    with ThreadPoolExecutor(job.limits.threads, initializer=_one_thread) as pool:
        for activation, hessian in hessians(model, job.source, widths, chunks):
            futures = {
                task.tensor.name: pool.submit(gptq, _oriented(job, task), hessian, task.grid)
                for task in users[activation]
            }
            done.update({name: future.result() for name, future in futures.items()})
    return done


def _oriented(job: Job[QuantizeOptions], task: Task) -> Array:
    """The weight as [K, N], float32."""
    values = weight_values(task.tensor, job.source)
    return np.ascontiguousarray(values if task.matrix.products else values.T, np.float32)


def _stored(packed: Packed, task: Task, data: ExternalData) -> Stored:
    name = task.tensor.name
    scales = packed.scales.astype(task.matrix.dtype)
    zero_points = packed.zero_points
    return Stored(
        codes=data.append_array(f"{name}_Q{task.grid.bits}", packed.codes),
        scales=data.append_array(f"{name}_scales", scales),
        zero_points=None if zero_points is None else data.append_array(f"{name}_zero_points", zero_points),
    )


def _copy_rest(job: Job[QuantizeOptions]) -> None:
    for path in sorted(job.source.iterdir()):
        if path.is_file() and path.name not in (MODEL, f"{MODEL}.data", *DESCRIPTIONS):
            shutil.copyfile(path, job.out / path.name)
