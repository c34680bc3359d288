# Everything here needs only make, a POSIX shell and Python >= 3.11 with venv; packages come from PyPI by plain pip,
# pinned with hashes. `make` prints the targets. PYTHON=... chooses the interpreter, ARGS=... reaches the command.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

ARGS ?=
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

UV_VERSION := 0.13.9
UV := build/lock/bin/uv
COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

# $(call CREATE_VENV,FOLDER). A name on the PATH proves little (a pyenv shim may fail when it is run, Debian ships python3
# without venv), so each candidate is tried.
TRY_PYTHON := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
define CREATE_VENV
if [ ! -x $(1)/bin/pip ]; then \
	found=; \
	for candidate in $(PYTHONS); do \
		if "$$candidate" -c '$(TRY_PYTHON)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "livesegments needs Python 3.11 or newer with its venv module; tried: $(PYTHONS)." >&2; \
		echo "Install it (Debian, Ubuntu: apt install python3-venv), or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	"$$found" -m venv $(1) || exit 1; \
fi
endef

# $(call INSTALL,LOCK): the locked packages, then the project itself in place, built by the locked hatchling.
define INSTALL
$(call CREATE_VENV,$(VENV)); \
echo "environment: installing $$(grep -c == requirements/$(1).txt) locked packages into $(VENV), once; about a minute ..."; \
$(PIP) install --require-hashes -r requirements/$(1).txt && \
$(PIP) install --no-deps --no-build-isolation -e . && \
echo "environment: ready ($$($(BIN)/python --version))"
endef

.PHONY: help demo test test-kafka check bench-smoke bench-segments bench-delivery prove simulate mutants fuzz faults schemas docs lock clean

help: ## print this list
	@echo "livesegments: customer segments that change the moment the customer does"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo ## a shop day in time-lapse, with a broker of its own: watch carts become segments (ends by itself)
	@$(BIN)/livesegments demo $(ARGS)

# Most of their time the integration tests wait. Each of the processes has brokers of its own; JOBS=0 is one process.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test: $(VENV)/.dev ## unit, property and integration tests; the last on the embedded broker, as real processes
	@$(PYTEST) -m "not kafka" $(ARGS)

test-kafka: $(VENV)/.dev ## the integration tests on Apache Kafka, which Maven fetches (needs Java 17 and mvn)
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make test-kafka needs java (17 or newer) and mvn on the PATH" >&2; exit 1; }
	@$(PYTEST) -m kafka $(ARGS)

check: $(VENV)/.dev ## lint, format, strict types, the layers of the code, what is made from it up to date
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m schemas.export --check
	@$(BIN)/python -m stream.docs --check

bench-smoke: $(VENV)/.dev ## events per second beside a stock Faust app, in under 3 minutes; writes build/bench/smoke.json
	@$(BIN)/python -m tests.bench.smoke $(ARGS)

bench-segments: $(VENV)/.dev ## what segments cost an event, ten and a thousand of them; writes build/bench/segments.json
	@$(BIN)/python -m tests.bench.rules $(ARGS)

bench-delivery: $(VENV)/.dev ## changes per second to a webhook beside a bare httpx loop; writes build/bench/delivery.json
	@$(BIN)/python -m tests.bench.delivery $(ARGS)

MINUTES ?= 10
prove: $(VENV)/.dev ## random segments over random logs against DuckDB, for MINUTES=10
	@$(BIN)/python -m tests.prove --minutes $(MINUTES) $(ARGS)

SCHEDULES ?= 20000
simulate: $(VENV)/.dev ## crashes at every write of the worker, in random schedules: SCHEDULES=20000
	@$(BIN)/python -m tests.simulation --schedules $(SCHEDULES) $(ARGS)

mutants: $(VENV)/.dev ## plant bugs into the worker, and see which check catches each
	@$(BIN)/python -m tests.mutants $(ARGS)

INPUTS ?= 200000
fuzz: $(VENV)/.dev ## broken input into everything that reads: INPUTS=200000
	@$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(ARGS)

SEED ?=
faults: $(VENV)/.dev ## kill, cut off and fill up everything on Apache Kafka, stock Faust beside it: SEED=1 (Java 17, mvn)
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make faults needs java (17 or newer) and mvn on the PATH" >&2; exit 1; }
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(ARGS)

schemas: $(VENV)/.dev ## export schemas/json again from the pydantic models and the topic registry
	@$(BIN)/python -m schemas.export

docs: $(VENV)/.dev ## make docs/settings.md and docs/metrics.md again from the code
	@$(BIN)/python -m stream.docs

lock: $(UV) ## pin all dependencies again in requirements/ (ARGS=--upgrade takes newer versions)
	@$(COMPILE) --extra dev --group build -o requirements/dev.txt $(ARGS)
	@$(COMPILE) --extra demo --group build -c requirements/dev.txt -o requirements/demo.txt
	@$(COMPILE) -c requirements/dev.txt -o requirements/production.txt

clean: ## remove the environment, build/ and all caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The dev lock holds all that the demo lock holds, at the same versions, so it makes both stamps.
$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@$(call INSTALL,dev)
	@touch $(VENV)/.demo $@

$(VENV)/.demo: requirements/demo.txt pyproject.toml
	@$(call INSTALL,demo)
	@touch $@

$(UV): Makefile
	@mkdir -p build
	@$(call CREATE_VENV,build/lock)
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check --no-input uv==$(UV_VERSION)
	@touch $@
