"""`modelmill doctor`: what works here, and the command that mends what does not."""

from pathlib import Path

import click

from modelmill.cli import options, show
from modelmill.decode import encode
from modelmill.doctor import findings
from modelmill.lock import lock_path
from modelmill.registry import load
from modelmill.store import store_folder


@click.command()
@click.option("--quick", is_flag=True, help="Do not load the tools, which may take some seconds.")
@options.build_file
@options.as_json
def command(quick: bool, file: Path, store_path: Path | None, as_json: bool) -> int:
    """Look at Python, plugins, tools, tool environments, disk and memory; the exit code is 1 if something is broken.

    A tool that is not installed is no fault: it is told with the command that installs it. What toolchains stand for
    is told by the lock of the build file, where there is one, and what its sources, its key and its packages need by
    the file itself.
    """
    lock = lock_path(file)
    found = tuple(findings(load(), store_folder(store_path), lock, load_tools=not quick, file=file))
    if as_json:
        show.document({"findings": encode(found)})
    else:
        for item in found:
            click.echo(f"{item.state:8}{item.name}: {item.said}")
            if item.mend:
                click.echo(f"{'':8}  → {item.mend}")
    return 1 if any(item.state == "bad" for item in found) else 0
