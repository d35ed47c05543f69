"""From words to an exit code: parse, find the command's module, run it, report what it raised."""

from __future__ import annotations

import gc
import sys

from llmspell.cli.grammar import Call, UsageError, parse
from llmspell.cli.output import LEVELS, Output, OutputError, early_form
from llmspell.cli.table import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def dispatch(argv: list[str]) -> int:
    """Run the command line `argv` and return its exit code."""
    if argv[:1] == ["__complete"]:
        from llmspell.cli.completion import complete

        return int(complete(argv[1:]))
    out = Output(early_form(argv))
    gc.disable()  # until `started`: collecting among what start-up makes costs 3 of the 60 ms of `exec`
    try:
        call = parse(argv)
        _settle(call, out)
        return _handler(call)(call, out)
    except UsageError as error:
        from llmspell.cli.exit_codes import USAGE

        out.fail(_usage(error))
        return USAGE
    except (BrokenPipeError, OutputError):
        raise  # the entry point knows what is left to do
    except Exception as error:
        return report(error, out)
    finally:
        gc.enable()


def report(error: BaseException, out: Output) -> int:
    """Write an error that reached the roof and return its exit code; a defect shows its traceback at level debug."""
    from llmspell.cli.exit_codes import code_of
    from llmspell.errors import InternalError, LLMSpellError

    if not isinstance(error, LLMSpellError):
        known = InternalError(f"internal error: {type(error).__name__}: {error}; run again with --trace debug")
        if LEVELS.index(out.level) >= LEVELS.index("debug"):
            import traceback

            known.traceback = "".join(traceback.format_exception(error))
        error = known
    wire = error.to_wire()
    hint = error.details.get("hint")
    out.fail({**wire, "hint": hint} if hint else wire)
    return code_of(error)


def _usage(error: UsageError) -> dict[str, object]:
    wire: dict[str, object] = {"kind": "validation", "message": error.message, "retryable": False}
    hint = error.hint or "see llmspell --help"
    return {**wire, "details": {"code": "usage"}, "hint": hint}


def _settle(call: Call, out: Output) -> None:
    """Take form, level and colour from the global options."""
    from llmspell.config.terminal import level_wish, output_wish

    own = call.options.get("output")
    if own in FORMATS:  # a FILE option named --output gets a form when it is one
        call.given["output"] = call.options.pop("output")
    form = (call.given.get("output") or output_wish() or "text").lower()
    form = "text" if form == "table" else form
    if form not in FORMATS:
        raise UsageError(f"unknown form of output {form!r}", f"one of {', '.join(FORMATS)}")
    level = (call.given.get("trace") or level_wish() or "warn").lower()
    level = "warn" if level == "warning" else level
    if level not in LEVELS:
        raise UsageError(f"unknown level {level!r}", f"one of {', '.join(LEVELS)}")
    step = call.given.get("verbose", 0) - call.given.get("quiet", 0)
    out.form = form
    out.level = LEVELS[max(0, min(len(LEVELS) - 1, LEVELS.index(level) + step))]
    out.color = call.given.get("color", "auto")
    out.command = call.name


def _handler(call: Call) -> Callable[[Call, Output], int]:
    target = "version:short" if call.flag("version") else "help:show"
    if call.command is not None and not (call.flag("help") or call.flag("version")):
        target = call.command.handler
    module, _, function = target.partition(":")
    name = f"llmspell.cli.{module}"
    __import__(name)
    found: Callable[[Call, Output], int] = getattr(sys.modules[name], function)
    return found
