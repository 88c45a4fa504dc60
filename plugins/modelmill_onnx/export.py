"""An encoder's checkpoint → ONNX through optimum-onnx, in the environment that its pins need."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelmill import ConvertError, Job
from modelmill.checkpoint import facts, open_checkpoint
from modelmill_onnx.encoders import ExportOptions, task_of
from modelmill_onnx.whole import check_there

MODEL: Final = "model.onnx"
_LEFT: Final = (".safetensors", ".safetensors.index.json")
_POOLING: Final = "modules.json"


def run(job: Job[ExportOptions]) -> None:
    """Write `model.onnx` (with `model.onnx_data` beside it where it is over 2 GB) and the checkpoint's other files."""
    task = task_of(facts(job.source), job.options.task)
    with open_checkpoint(job.source):
        pass  # headers, shards and sizes are checked, and told of by name, before transformers looks at them
    made = job.limits.scratch / "export"
    os.environ["HF_HUB_OFFLINE"] = "1"  # for the tools that read it when they are imported
    import torch
    from optimum.exporters.onnx import main_export

    torch.set_num_threads(job.limits.threads)
    try:
        with _whole_models():
            main_export(
                str(job.source),
                output=made,
                task=task,
                library_name="transformers",  # sentence-transformers' folders too: what it adds is not in the graph
                framework="pt",
                device="cpu",
                local_files_only=True,
                do_validation=False,
                trust_remote_code=False,
            )
    except ConvertError:
        raise
    except Exception as error:
        raise ConvertError(
            f"optimum-onnx cannot export this checkpoint: {_sentence(error, str(job.source))}"
        ) from error
    for path in sorted(made.iterdir()):
        if path.name.startswith(MODEL):
            shutil.move(path, job.out / path.name)
    _copy_rest(job)


@contextmanager
def _whole_models() -> Iterator[None]:
    """Let optimum load only models whose weights are all in the checkpoint; transformers would make up the others."""
    from optimum.exporters.tasks import TasksManager

    own = TasksManager.get_model_class_for_task

    def checked(task: str, *given: Any, **named: Any) -> Any:
        return _Whole(own(task, *given, **named), task)

    TasksManager.get_model_class_for_task = staticmethod(checked)
    try:
        yield
    finally:
        TasksManager.get_model_class_for_task = own


class _Whole:
    """A class of transformers' for a task, for the way to its models that optimum takes."""

    def __init__(self, models: Any, task: str) -> None:
        self._models = models
        self._task = task

    def from_pretrained(self, folder: str, **options: Any) -> Any:
        """The model. ConvertError for a checkpoint that does not hold all of it."""
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = self._models.from_pretrained(folder, **options)
        check_there(name for name in found["missing_keys"] if not _is_unused(name, self._task))
        for name in sorted(found["mismatched_keys"]):
            wanted = list(model.state_dict()[name].shape)
            raise ConvertError(
                f"tensor {name!r} has not the shape {wanted} that config.json asks for: they do not belong together"
            )
        return model


def _is_unused(name: str, task: str) -> bool:
    """Whether a weight is not in the graph: a pooler, which nothing but a head needs, beside the last hidden state."""
    return task == "feature-extraction" and name.startswith("pooler.")


def _copy_rest(job: Job[Any]) -> None:
    """Take the checkpoint's own files along rather than what transformers would write of them."""
    left = set() if _pooling_is_whole(job.source) else {_POOLING}
    for path in sorted(job.source.rglob("*")):
        name = path.relative_to(job.source)
        if path.is_file() and not name.as_posix().endswith(_LEFT) and name.as_posix() not in left:
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, job.out / name)


def _pooling_is_whole(source: Path) -> bool:
    """Whether the folders that sentence-transformers' modules.json names are there; it loads nothing without them."""
    path = source / _POOLING
    if not path.is_file():
        return True
    try:
        modules = json.loads(path.read_bytes())
        folders = [item["path"] for item in modules if not str(item["type"]).endswith((".Transformer", ".Normalize"))]
        missing = [folder for folder in folders if not (source / folder / "config.json").is_file()]
    except (ValueError, TypeError, KeyError) as error:
        raise ConvertError(f"{_POOLING}: is not what sentence-transformers writes: {error}") from None
    if missing:
        print(f"{_POOLING} is left out, because the source does not bring what it names: {', '.join(missing)}")  # noqa: T201
    return not missing


def _sentence(error: Exception, source: str) -> str:
    text = f"{type(error).__name__}: {error}".replace(f"{source}/", "").replace(source, "the checkpoint")
    return re.sub(r"\s+", " ", text).strip()[:400]
