"""The entry point: hand the words of the command line to `dispatch`, and end quietly when nobody reads."""

import sys


def main(argv: "list[str] | None" = None) -> int:
    """Run one command and return its exit code."""
    try:
        from llmspell.cli.dispatch import dispatch

        code = dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        import os

        # the interpreter flushes once more at its end; give it somewhere to write
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    return code
