"""`modelmill hardware`: hardware profiles, and one of this machine."""

import json
from pathlib import Path, PurePath
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.config import offered, profile_text
from modelmill.errors import ConfigError
from modelmill.hardware.machine import detect as detect_machine
from modelmill.hardware.profile import matching, profile_toml
from modelmill.hardware.schema import FIELDS, ancestors, load_profile
from modelmill.registry import load


@click.group()
def command() -> None:
    """List and show hardware profiles, and write one of this machine."""


@command.command("list")
@options.as_json
def list_profiles(*, as_json: bool) -> None:
    """List every profile and whether this machine could run what is built for it."""
    registry = load()
    texts = offered(registry)
    here = matching(detect_machine(), texts)
    running = {*here, *(parent for name in here for parent in ancestors(name, texts))}
    profiles = {name: load_profile(name, texts).fields for name in sorted(texts)}
    if as_json:
        show.document(
            {
                "profiles": [
                    {"name": name, "plugin": str(registry.hardware[name].plugin), "here": name in running, **fields}
                    for name, fields in profiles.items()
                ]
            }
        )
        return
    rows = [
        (name, _platform(fields), _memory(fields), "yes" if name in running else "", fields["description"])
        for name, fields in profiles.items()
    ]
    click.echo(show.table(("profile", "platform", "memory", "here", "what it is"), rows))


@command.command("show")
@click.argument("name")
@options.as_json
def show_profile(name: str, *, as_json: bool) -> None:
    """Show every field of a profile (NAME, or a file FILE.toml), with what it inherits and what each means."""
    registry = load()
    texts, file = offered(registry), None
    if name.endswith(".toml"):
        file, name = name, PurePath(name).stem
        texts[name] = profile_text(Path(file), file)
    offer = {"file": file} if file else {"plugin": str(registry.hardware[name].plugin)}
    fields = load_profile(name, texts).fields
    if as_json:
        show.document({**offer, "inherits": list(ancestors(name, texts)), **fields})
        return
    click.echo(f"{name} ({', '.join(offer.values())})")
    above = ancestors(name, texts)
    if above:
        click.echo(f"inherits from {', '.join(above)}")
    sources = {key: value for key, value in sorted(fields.items()) if key.startswith("evidence.")}
    told = sorted(fields.keys() - sources.keys() - {"name"})
    click.echo(show.table(("field", "value", "meaning"), [(key, _told(fields[key]), _meaning(key)) for key in told]))
    for key, value in sources.items():  # whole sentences, which would leave no room beside them
        click.echo(f"\n{key}: {value}")


@command.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to this new file.")
@options.as_json
def detect(output: Path | None, *, as_json: bool) -> None:
    """Write a profile of this machine, to standard output unless a file is named."""
    texts = offered(load())
    machine = detect_machine()
    parents = matching(machine, texts)
    text = profile_toml(machine, texts)
    name = output.stem if output is not None else "detected"
    fields = load_profile(name, {**texts, name: text}).fields  # what is written can be read
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise ConfigError(f"{output}: is there already, and is not overwritten; name another file") from None
        except OSError as error:
            raise ConfigError(f"{output}: cannot be written ({error.strerror})") from error
    if as_json:
        show.document({"matches": list(parents), "output": None if output is None else str(output), **fields})
    elif output is None:
        click.echo(text, nl=False)
    else:
        click.echo(
            f"{output}: a profile of this machine; it runs what is built for {', '.join(parents) or 'none'}; "
            f'a target names it so: hardware = "{output.name}"'
        )


def _platform(fields: Any) -> str:
    return "/".join(str(fields[key]) for key in ("os.family", "os.arch", "os.variant") if key in fields)


def _memory(fields: Any) -> str:
    budget = fields.get("memory.budget_mib", fields.get("memory.total_mib"))
    return "" if budget is None else f"{budget:,} MiB"


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def _meaning(key: str) -> str:
    first, _, rest = key.partition(".")
    starred = ".".join(["*" if place == 0 else word for place, word in enumerate(rest.split("."))])
    known = FIELDS.get(key) or FIELDS.get(f"{first}.{starred}")
    return known[1] if known else ""
