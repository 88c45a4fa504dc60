"""Where checkpoints come from: folders of this machine, Python packages, the Hugging Face hub, the web."""

from collections.abc import Iterable

from modelmill import Source, hookimpl


@hookimpl
def modelmill_sources() -> Iterable[Source]:
    """The sources `path`, `pypi`, `hf` and `https`."""
    from modelmill_sources import hub, path, pypi, web

    return (path.SOURCE, pypi.SOURCE, hub.SOURCE, web.SOURCE)
