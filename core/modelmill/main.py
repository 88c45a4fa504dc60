"""Where the command `modelmill` begins: the shortest way to "up to date", else the command line."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the arguments name."""
    if sys.argv[1:2] == ["build"]:
        from modelmill.build.uptodate import answer

        message = answer(sys.argv[1:])
        if message is not None:
            sys.stdout.write(message + "\n")
            sys.exit(0)
    from modelmill.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
