# Two commands matter: `make demo` and `make test`. Everything they need, they install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINE := cutover/engine/bin/cutover-engine
ENGINE_SOURCES := $(shell find engine -name '*.go' -o -name 'go.mod' -o -name 'go.sum' 2>/dev/null)
WORKERS ?= 2

.PHONY: help setup demo test test-go test-python campaign check format coverage bench wheels clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@CUTOVER_SKIP_ENGINE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(ENGINE): $(STAMP) $(ENGINE_SOURCES) scripts/hatch_build.py
	@$(BIN)/python scripts/hatch_build.py

setup: $(STAMP) $(ENGINE) ## virtual environment, locked dependencies, engine

demo: setup ## real Kafka, live producers and groups: 6 to 24 partitions, and another pair there and back
	@$(BIN)/cutover demo

test: test-go test-python ## all tests; starts its own Apache Kafka

test-go: setup
	@$(BIN)/python scripts/hatch_build.py --test

test-python: setup
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not slow"

check: setup ## format, lint, types, import contracts, vet
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/hatch_build.py --check

format: $(STAMP) ## put the code into its one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

coverage: setup ## branch coverage of the pure core by its unit tests; fails below 100 %
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -q tests/unit
	@$(BIN)/coverage run -m pytest -q tests/contract -k twin
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=100 --include="cutover/errors.py,cutover/lineage.py,cutover/model.py,cutover/partitioners.py,cutover/positions.py,cutover/recovery.py,cutover/connection.py,cutover/lifecycle.py,cutover/history.py,cutover/pinning.py,cutover/prices.py,cutover/marks.py,cutover/protocol.py,cutover/plan/*"

campaign: setup ## the long tests: the driver killed at every planted moment, each stage with live clients, soak of flips
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m slow --timeout=900

bench: setup ## side-by-side measurements; writes docs/benchmarks.md
	@$(BIN)/python tests/bench/run.py

wheels: $(STAMP) ## one wheel per platform, each with its engine
	@$(BIN)/python scripts/hatch_build.py --wheels

lock: ## renew requirements.lock from pyproject.toml
	@$(PYTHON) -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv
	@.cache/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --all-extras --group dev \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header pyproject.toml -o requirements.lock

clean: ## remove what was built
	@rm -rf $(VENV) dist build cutover/engine/bin .mypy_cache .ruff_cache .pytest_cache
