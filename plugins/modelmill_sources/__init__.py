"""Where checkpoints come from: folders, Python packages, the Hugging Face hub, the web, buckets, model catalogues."""

from collections.abc import Iterable

from modelmill import Source, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_sources() -> Iterable[Source]:
    """The sources `path`, `pypi`, `hf`, `https`, `azureml`, and those of file systems that fsspec reaches."""
    from modelmill_sources import azureml, filesystems, hub, path, pypi, web

    return (path.SOURCE, pypi.SOURCE, hub.SOURCE, web.SOURCE, azureml.SOURCE, *filesystems.sources())
