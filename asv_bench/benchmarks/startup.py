"""Start-up of commands as a ratio to `python -I -c pass`, whole processes, alternating runs, medians.

Goals: `tool list` within 2.5, `exec 'return 1+1'` within 5.

    python asv_bench/benchmarks/startup.py [runs]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "tool list": ["tool", "list"],
    "tool info": ["tool", "info", "calculator"],
    "completion": ["completion", "bash"],
    "list-profiles": ["config", "list-profiles"],
    "exec": ["exec", "return 1+1"],
}


def seconds(argv, environ):
    started = time.perf_counter()
    subprocess.run(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def ratio(argv, runs=15):
    """Return the median time of the command over the median of bare Python, and the first in ms."""
    beside = Path(sys.executable).with_name("llmspell")
    program = str(beside) if beside.exists() else shutil.which("llmspell")
    command = [program, *argv] if program else [sys.executable, "-m", "llmspell", *argv]
    with tempfile.TemporaryDirectory() as home:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LLMSPELL") and not k.endswith("_KEY")}
        environ = kept | {"LLMSPELL_HOME": home}
        bare, ours = [], []
        for turn in range(runs + 1):
            pair = (seconds([sys.executable, "-I", "-c", "pass"], environ), seconds(command, environ))
            if turn:
                bare.append(pair[0])
                ours.append(pair[1])
    return statistics.median(ours) / statistics.median(bare), statistics.median(ours) * 1e3


class Startup:
    params = list(COMMANDS)
    param_names = ["command"]
    unit = "times bare Python"
    timeout = 120

    def track_ratio(self, command):
        return ratio(COMMANDS[command])[0]


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for label, argv in COMMANDS.items():
        times, ms = ratio(argv, count)
        print(f"{label:14s} {times:5.2f} x python -I -c pass ({ms:.1f} ms)")
