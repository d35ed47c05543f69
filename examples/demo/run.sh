#!/bin/sh
# The main job, twice: index the documentation of Python's standard library, ask it questions, and ask again from the
# saved index. Fails when an answer is not what it must be. Everything stays in .demo; nothing needs a network.
set -eu
cd "$(dirname "$0")/../.."
work=.demo
mkdir -p "$work"
LLMSPELL_HOME="$PWD/$work/home"
export LLMSPELL_HOME

echo "== the corpus: docstrings of this Python's standard library"
[ -s "$work/stdlib.jsonl" ] || python examples/demo/docstrings.py "$work/stdlib.jsonl"

echo "== first run: ingest, then answer"
llmspell run examples/demo/ask.lua -- --corpus "$work/stdlib.jsonl" "read members of a zip archive" | tee "$work/first.txt"

echo
echo "== second run: from the saved index"
started=$(python -c 'import time; print(time.time())')
llmspell run examples/demo/ask.lua -- --corpus "$work/stdlib.jsonl" "shuffle a list randomly" "parse command line options" | tee "$work/second.txt"
python -c "import time; print(f'answered in {time.time() - $started:.2f} s')"

echo
echo "== the same spell over a folder"
llmspell run examples/demo/ask.lua -- --folder docs/adr --top 2 "why is the hook armed all the time?"

python - "$work" <<'EOF'
import re, sys
from pathlib import Path

def modules(name):
    return re.findall(r"^ *\d+\. [\d.]+  (\S+)  (\S+)", Path(sys.argv[1], name).read_text(), re.M)

first = list(dict.fromkeys(module for module, _ in modules("first.txt")))
second = modules("second.txt")
assert "zipfile" in first[:3], f"expected zipfile among the first three modules, got {first}"
assert second[0] == ("random", "shuffle"), f"expected random.shuffle first, got {second[0]}"
assert "using the saved index" in Path(sys.argv[1], "second.txt").read_text(), "the second run ingested again"
print("\ndemo ok: zipfile found, random.shuffle first, second run from the saved index")
EOF
