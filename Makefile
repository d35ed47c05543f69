VENV ?= .venv
FUZZ_SECONDS ?= 60
PYTHON ?= python3
PY = $(VENV)/bin/python
BIN = PATH="$(abspath $(VENV)/bin):$$PATH"
CMAKE = $(BIN) $(PY) -m cmake
CORE = -S . -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLLMSPELL_PYTHON=OFF -DLLMSPELL_TESTS=ON
EXTRA = $(PY) -c "import sys, tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies'][sys.argv[1]], sep=chr(10))"
SOURCES = pyproject.toml CMakeLists.txt $(shell find src -type f -not -name '*.so' -not -path '*/__pycache__/*')

.PHONY: demo test check bench core-test guard-test fuzz docs dev clean help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(VENV)/.installed ## build, install, and ask Python's own documentation some questions, offline
	$(BIN) sh examples/demo/run.sh

test: $(VENV)/.test ## all tests: unit, conformance, lua, sandbox, system, core
	$(BIN) $(PY) -m pytest
	$(MAKE) core-test-plain

check: $(VENV)/.check ## format, lint, types, floors, shape
	$(BIN) ruff format --check . && $(BIN) ruff check .
	$(BIN) clang-format --dry-run -Werror $(shell find src/_core tests/core -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp')
	$(BIN) mypy && $(BIN) lint-imports
	$(BIN) $(PY) -m pytest -q tests/arch/test_arch_shape.py

bench: $(VENV)/.bench ## the benchmarks with their peers, in this environment
	cd asv_bench && $(abspath $(PY)) -m asv machine --yes >/dev/null && $(abspath $(PY)) -m asv run --python=same --quick --show-stderr

core-test: core-test-plain core-test-address core-test-thread guard-test ## the core's own tests: plain, ASan+UBSan, TSan

guard-test: $(VENV)/.test ## the sandbox tests over a guard with ASan and UBSan
	$(BIN) sh tests/core/guard_sanitized.sh $(abspath $(PY))

core-test-%: $(VENV)/.tools
	$(CMAKE) -B build/core-$* $(CORE) -DLLMSPELL_SANITIZE=$(filter-out plain,$*)
	$(CMAKE) --build build/core-$*
	$(CMAKE) -E chdir build/core-$* ctest --output-on-failure $(if $(filter thread,$*),-L threads)

fuzz: $(VENV)/.tools $(VENV)/.installed ## hostile bytes to everything that reads them, FUZZ_SECONDS=60 for each target
	$(CMAKE) -B build/core-fuzz $(CORE) -DLLMSPELL_SANITIZE=address -DLLMSPELL_FUZZ=ON
	$(CMAKE) --build build/core-fuzz
	for target in open import_hnswlib cut; do \
	    build/core-fuzz/tests/core/fuzz/fuzz_$$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done
	$(PY) tests/core/fuzz/fuzz_codec.py --seconds $(FUZZ_SECONDS)

docs: $(VENV)/.installed ## write the generated reference pages
	$(PY) docs/generate.py

dev: $(VENV)/.tools ## build the compiled core into the source tree and use the sources from there
	$(CMAKE) -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(abspath $(PY))
	$(CMAKE) --build build/dev
	$(CMAKE) --install build/dev --prefix src

clean: ## remove what was built
	rm -rf build dist $(VENV) .demo src/llmspell/_core/*.so

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(PY) $(SOURCES)
	$(PY) -m pip install --quiet .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(EXTRA) test | $(PY) -m pip install --quiet --requirement /dev/stdin
	touch $@

$(VENV)/.check: $(VENV)/.test
	$(EXTRA) check | $(PY) -m pip install --quiet --requirement /dev/stdin
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(EXTRA) bench | $(PY) -m pip install --quiet --requirement /dev/stdin
	touch $@

$(VENV)/.tools: $(PY)
	$(PY) -m pip install --quiet cmake ninja pybind11 cython
	touch $@
