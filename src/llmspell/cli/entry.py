"""The entry point: hand the words of the command line to `dispatch`, and end quietly when nobody reads."""

import sys


def main(argv: "list[str] | None" = None) -> int:
    """Run one command and return its exit code."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_missing()
    try:
        from llmspell.cli.dispatch import dispatch

        code = dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_output()
        return 141
    except OSError as error:
        _discard_output()
        sys.stderr.write(f"error: cannot write the output: {error.strerror}\n")
        return 1
    return code


def _discard_output() -> None:
    """Give the interpreter, which flushes once more at its end, somewhere to write."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _open_missing() -> None:
    """Stand in for standard streams that the caller closed."""
    import os

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
