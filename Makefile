# Everything sets itself up: `make demo` and `make test` work in a fresh clone with Python 3.11 and pip.
.DEFAULT_GOAL := check
.PHONY: setup templates generate lint format typecheck static ruff mypy pyright public-types \
	generated test fuzz check demo bench clean

export UV_COMPILE_BYTECODE = 1
UV  := $(shell command -v uv 2>/dev/null || echo python3 -m uv)
RUN := $(UV) run --no-sync

setup: .venv/.ready templates

templates: .venv/.ready
	@$(RUN) sandlot templates install python-jupyter --quiet

.venv/.ready: pyproject.toml
	@command -v uv >/dev/null || python3 -m uv --version >/dev/null 2>&1 || internal/bootstrap
	$(UV) sync --quiet --all-extras
	@touch $@

generate: .venv/.ready
	$(RUN) python internal/api/generate.py
	$(RUN) python internal/api/methods.py

lint: ruff

format: .venv/.ready
	$(RUN) ruff check --fix
	$(RUN) ruff format

typecheck: mypy pyright public-types

# All that is checked without running anything. `make -j2 static` checks it side by side.
static: mypy pyright public-types generated ruff

ruff: .venv/.ready
	$(RUN) ruff check
	$(RUN) ruff format --check

mypy: .venv/.ready
	$(RUN) mypy

pyright: .venv/.ready
	$(RUN) pyright

public-types: .venv/.ready
	$(RUN) python internal/verify_types.py

generated: .venv/.ready
	$(RUN) python internal/api/generate.py --check
	$(RUN) python internal/api/methods.py --check

test: setup
	internal/postgresql
	$(RUN) python internal/run_tests.py

# What `test` does of it in a minute, for longer and with other data each time.
fuzz: export SANDLOT_FUZZING_SECONDS ?= 600
fuzz: setup
	$(RUN) pytest -o faulthandler_timeout=0 tests/server/test_fuzzing.py

# Everything is checked whatever fails; what failed is said once more at the end.
check: setup
	@failed=; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target static \
	    || failed="$$failed static"; \
	$(MAKE) --no-print-directory test || failed="$$failed test"; \
	test -z "$$failed" || { echo "FAILED:$$failed (the reasons are above)" >&2; exit 1; }

demo: setup
	$(RUN) python examples/quickstart.py
	$(RUN) python examples/quickstart_async.py
	$(RUN) python examples/undo.py
	$(RUN) python examples/build.py
	$(RUN) python examples/analysis.py

bench: setup
	$(RUN) python -m benchmarks

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist
