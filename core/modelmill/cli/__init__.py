"""The command line: `modelmill COMMAND`."""

import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

from modelmill.errors import ModelmillError
from modelmill.printable import printable

_COMMANDS = {
    "init": "Write a first build file for a model and this machine.",
    "build": "Build targets into dist/.",
    "plan": "Show what a build would do.",
    "explain": "Say why targets would be built again.",
    "lock": "Resolve the sources into build.lock.",
    "inspect": "Tell what a model or an artifact is.",
    "verify": "Check an artifact or a release.",
    "diff": "Compare two artifacts or two releases.",
    "rebuild": "Check that artifacts can be made again.",
    "package": "Put an artifact into a form that engines load.",
    "publish": "Publish a release to a registry.",
    "pull": "Fetch and verify the artifact for a machine.",
    "deploy": "Write the files that run an artifact's image.",
    "cache": "Look at the store, check it, and make room in it.",
    "hardware": "List and show hardware profiles, and write one of this machine.",
    "doctor": "Say what works here, and the command that mends what does not.",
    "keys": "Make and show signing keys.",
    "schema": "Print the JSON Schema of build.toml.",
    "plugins": "List the installed plugins and what each offers.",
    "new-plugin": "Write a plugin's repository to start from.",
}
"""Every command and its one line; each lives in a module of its name, imported only when it is run."""


class _Commands(click.Group):
    """A group that imports a command when it is wanted, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"modelmill.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from modelmill.decode import suggestion

            ctx.fail(f"there is no command {args[0]!r}; {suggestion(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modelmill")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks; may stand anywhere.")
def modelmill() -> None:
    """Make for models: one build.toml in, a versioned, signed, SBOM-tagged set of artifacts out."""


def main() -> NoReturn:
    """Run the command line; 0 done, 1 the build failed, 2 the user's input is wrong, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        _say("interrupted; finished steps are kept, and the next build goes on from them")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _run() -> int:
    try:
        arguments = [word for word in sys.argv[1:] if word != "--debug"]  # it may stand anywhere
        code: Any = modelmill(arguments, standalone_mode=False)
    except ModelmillError as error:
        _tell(str(error))
        if "--debug" in sys.argv:
            raise
        _say(str(error))
        return error.exit_code
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None  # which is what click makes an Abort of
    except click.ClickException as error:
        _tell(error.format_message())
        error.show()
        return 2
    return code if isinstance(code, int) else 0


def _tell(error: str) -> None:
    """The one JSON document of a command that was asked for one, and failed before it had anything else to tell."""
    words = sys.argv[1:]
    if "--json" in words[: words.index("--") if "--" in words else None]:
        from modelmill.cli.show import document

        document({"error": error, **({"verified": False} if "verify" in words[:2] else {})})


def _say(message: str) -> None:
    click.echo("\n".join(f"modelmill: {printable(line)}" for line in message.splitlines()), err=True)


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt
