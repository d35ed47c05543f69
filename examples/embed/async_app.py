"""A web-like service that runs spells of its users: many at once, sandboxed, with limits, sharing state and tools.

Run: python async_app.py
"""

import asyncio
import tempfile

import llmspell

SPELLS = {
    "ann": "State.increment('visits') return Tool.calculator{input = ARGS.sum}.result.result",
    "bob": "State.increment('visits') return Async.map({1, 2, 3}, function(n) sleep(5) return n * n end)",
    "eve": "while true do end",
    "mal": "return io ~= nil and io.open('/etc/passwd')",
}


async def main() -> None:
    """Run the spells of all users at the same time and tell how each ended."""
    with tempfile.TemporaryDirectory() as home:
        # Spells of one loop take turns when they wait; a limit of instructions ends one that never does.
        async with llmspell.open(home=home, cwd=home) as app:
            jobs = [
                llmspell.run(source, app=app, args={"sum": "6*7"}, sandbox="safe", limits={"instructions": 2_000_000})
                for source in SPELLS.values()
            ]
            for user, outcome in zip(SPELLS, await asyncio.gather(*jobs), strict=True):
                print(user, outcome.status, outcome.value if outcome.error is None else outcome.error.kind)
            print("visits", app.state.load("global", "visits"))

            envelope = await app.tools.call(
                "text-manipulator", {"operation": "slugify", "input": "Where do owls sleep?"}
            )
            print("tool", envelope["text"])


asyncio.run(main())
