"""Calls that wait for a yes: by the policy of the tools, or by the agent's own setting.

    approval   policy  what `tools.security.require_approval` names     always  every call
               never   none                                             [globs] the tools that match

`on_approval` decides. Without one there is nobody to ask, so the call is denied, and the model is told.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from llmspell.base.registry import canonical
from llmspell.errors import LLMSpellError

if TYPE_CHECKING:
    from llmspell.agents.run import Run
    from llmspell.base.types import ToolCall


async def approved(run: Run, call: ToolCall, name: str) -> bool:
    """Whether the call may run; a decision may replace its arguments. A denial is noted in the call."""
    if not _needed(run, call, name):
        return True
    config = run.config
    call.status = "pending"
    asked: dict[str, Any] = {"id": call.id, "tool": name, "parameters": call.arguments}
    await run.control("approval_required", **asked)
    if config.on_approval is None or config.approval_wait == "deny":
        refuse(call, "security", "approval_denied", f"tool '{name}' needs approval and nobody is there to give it")
        return False
    verdict = await config.on_approval({**asked, "agent": config.name})
    yes, reason, changed = _read(verdict)
    if not yes:
        refuse(call, "security", "approval_denied", reason or f"the call of tool '{name}' was not approved")
        return False
    if changed is not None:
        call.arguments = changed
    call.status = "approved"
    return True


def _needed(run: Run, call: ToolCall, name: str) -> bool:
    rule = run.config.approval
    if rule == "never":
        return False
    if rule == "always":
        return True
    if isinstance(rule, list):
        return any(fnmatchcase(canonical(name), canonical(pattern)) for pattern in rule)
    try:
        return run.toolbox.needs_approval(name, call.arguments)
    except LLMSpellError:
        return False  # bad arguments: the call itself says so, and does not run


def _read(verdict: Any) -> tuple[bool, str | None, dict[str, Any] | None]:
    """Read a decision: true or false, a reason to deny, or `{approve | deny, reason?, parameters?}`."""
    if isinstance(verdict, str):
        return False, verdict, None
    if not isinstance(verdict, dict):
        return verdict is True, None, None
    changed = verdict.get("parameters")
    yes = verdict.get("approve") is True and not verdict.get("deny")
    return yes, verdict.get("reason"), changed if isinstance(changed, dict) else None


def refuse(call: ToolCall, kind: str, code: str, message: str, details: dict[str, Any] | None = None) -> None:
    """Note in a call that it was not run, and why."""
    call.success = False
    call.status = "denied" if code in ("tool_not_allowed", "denied", "approval_denied") else "failed"
    call.error = {"kind": kind, "code": code, "message": message}
    if details:
        call.error["details"] = details
