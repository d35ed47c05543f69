#!/bin/sh
# The sandbox tests over a guard built with AddressSanitizer and UndefinedBehaviorSanitizer: usage, guard_sanitized.sh PYTHON.
set -eu
python=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
package=$("$python" -c 'import os, llmspell; print(os.path.dirname(llmspell.__file__))')
cp -r "$package" "$work/llmspell"
cc -O1 -g -std=c11 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -shared -fPIC \
    -fvisibility=hidden -I"$root/src/_core" -o "$work/llmspell/_core/_guard.so" "$root"/src/_core/guard/*.c -ldl
cd "$root"
LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH="$work" \
    "$python" -m pytest tests/sandbox tests/lua -q -k "not bare and not leaks"
