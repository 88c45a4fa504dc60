"""The work: Olive's engine on a workflow, in the tool environment, and its result without Olive's own records."""

import os
import shutil
from typing import Any

from modelmill import ConvertError, Job
from modelmill.checkpoint import facts, open_checkpoint

from modelmill_olive import workflow
from modelmill_olive.plan import Options, workflow_for

_OWN = ("model_config.json",)
"""What Olive writes for itself, with this machine's paths in it."""
_CPU = {"type": "LocalSystem", "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]}


def run(job: Job[Options]) -> None:
    """Run the workflow. Raises ConvertError for a checkpoint that is not sound, and where Olive fails."""
    facts(job.source)
    with open_checkpoint(job.source):
        pass
    folder = job.inputs.get("workflow")
    steps = workflow.facts(folder).config if folder else workflow_for(job.scheme)
    made = job.limits.scratch / "olive" / "made"
    settings = {
        **steps,
        "input_model": {"type": "HfModel", "model_path": str(job.source)},
        "systems": {"local": _CPU},
        "host": "local",
        "target": "local",
        "output_dir": str(made),
        "cache_dir": str(job.limits.scratch / "olive" / "cache"),
        "no_artifacts": True,
        "evaluate_input_model": False,
    }
    _run(settings)
    if not (made / "model.onnx").is_file():
        raise ConvertError("Olive's workflow ended without a model.onnx; its reasons are in the log")
    for path in sorted(made.iterdir()):
        if path.name not in _OWN:
            shutil.copyfile(path, job.out / path.name)


def _run(settings: dict[str, Any]) -> None:
    os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
    import olive

    try:
        olive.run(settings)
    except Exception as error:  # whatever a pass raises, it is about what it was given
        raise ConvertError(f"Olive's workflow failed: {type(error).__name__}: {str(error)[:500]}") from error
