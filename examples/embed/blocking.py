"""Rules of a program kept in a spell: plain blocking code asks it for decisions and reads plain data back.

Run: python blocking.py
"""

import tempfile
from pathlib import Path

import llmspell

RULE = """
local order = ARGS
local discount = order.total >= 500 and 0.1 or 0
if order.country ~= "DE" then Utils.error("validation", "we ship to DE only, not to " .. order.country) end
print("looked at order " .. order.id)
return { id = order.id, pay = order.total * (1 - discount) }
"""


def main() -> None:
    """Ask the rule about three orders."""
    with tempfile.TemporaryDirectory() as home:
        rule = Path(home) / "rule.lua"
        rule.write_text(RULE)
        orders = [
            {"id": 1, "total": 99.5, "country": "DE"},
            {"id": 2, "total": 800, "country": "DE"},
            {"id": 3, "total": 10, "country": "FR"},
        ]
        for order in orders:
            outcome = llmspell.run_sync(llmspell.run(rule, args=order))
            if outcome.error is not None:
                print("refused:", outcome.error.message)
            else:
                print(outcome.stdout.strip(), "-> pay", outcome.value["pay"])


main()
