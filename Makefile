PY ?= .venv/bin/python
CMAKE ?= $(PY) -m cmake
CORE = -S . -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLLMSPELL_PYTHON=OFF -DLLMSPELL_TESTS=ON

.PHONY: dev core-test

dev: ## build the compiled core into src/llmspell/_core
	PATH="$(abspath $(dir $(PY))):$$PATH" $(CMAKE) -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(abspath $(PY))
	PATH="$(abspath $(dir $(PY))):$$PATH" $(CMAKE) --build build/dev
	$(CMAKE) --install build/dev --prefix src

core-test: core-test-plain core-test-address core-test-thread ## the core's own tests: plain, ASan+UBSan, TSan

core-test-%:
	PATH="$(abspath $(dir $(PY))):$$PATH" $(CMAKE) -B build/core-$* $(CORE) -DLLMSPELL_SANITIZE=$(filter-out plain,$*)
	PATH="$(abspath $(dir $(PY))):$$PATH" $(CMAKE) --build build/core-$*
	$(CMAKE) -E chdir build/core-$* ctest --output-on-failure $(if $(filter thread,$*),-L threads)
