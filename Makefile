# Everything sets itself up: `make demo` and `make test` work in a fresh clone with Python 3.11 and pip.
.DEFAULT_GOAL := check
.PHONY: setup templates generate lint format typecheck test check demo bench clean

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

generate: setup
	$(RUN) python internal/api/generate.py

lint: setup
	$(RUN) ruff check
	$(RUN) ruff format --check

format: setup
	$(RUN) ruff check --fix
	$(RUN) ruff format

typecheck: setup
	$(RUN) mypy
	$(RUN) pyright
	$(RUN) python internal/verify_types.py

test: setup
	$(RUN) pytest

check: lint typecheck
	$(RUN) python internal/api/generate.py --check
	$(RUN) pytest

demo: setup
	$(RUN) python examples/quickstart.py
	$(RUN) python examples/quickstart_async.py
	$(RUN) python examples/analysis.py

bench: setup
	$(RUN) python -m benchmarks

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist
