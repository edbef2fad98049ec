# `make help` lists the targets. Everything happens in .venv, from the hashed locks.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo tutorial time-tutorial test check lint format types layers services generate docs e2e soak bench bench-gateway chaos fuzz audit sbom image-check lock clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# $(call install,LOCK): a new .venv with what the lock says.
define install
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
  || { echo "stream-guard needs Python 3.11 to 3.13; $(PYTHON) is not one: run make PYTHON=python3.11" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
  || { echo "$(PYTHON) cannot create virtual environments: install the package python3-venv" >&2; exit 1; }
$(PYTHON) -m venv --clear $(VENV)
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

$(STAMP): requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@ $(DEMO_STAMP)

$(DEMO_STAMP): requirements-demo.lock pyproject.toml
	$(call install,requirements-demo.lock)
	@touch $@

demo: $(DEMO_STAMP) ## Show a campaign being found: broker, Redis, worker and traffic on this machine, about a minute
	@$(BIN)/stream-guard demo

tutorial: $(DEMO_STAMP) ## docs/tutorial.md: the demo with a decision that waits for you; runs until Ctrl-C
	@$(BIN)/stream-guard demo --keep --policy docs/tutorial.toml

time-tutorial: ## Go through the tutorial in a clean clone, installing included, to build/tutorial.json; minutes
	$(PYTHON) -m tests.tutorial

test: services check ## Run every check and test; installs a JDK, Redis and Prometheus' tools where missing
	@OPENBLAS_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(PYTEST_FLAGS)

check: lint types layers ## Run the static checks only

lint: $(STAMP) ## Style: ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## Types: mypy, strict
	$(BIN)/mypy

layers: $(STAMP) ## Who may import whom: import-linter
	$(BIN)/lint-imports --no-cache

generate: $(STAMP) ## Write what comes from the code: reference pages, dashboards, the rules for the Prometheus operator
	$(BIN)/python docs/generate.py
	$(BIN)/python deploy/grafana/generate.py
	$(BIN)/python deploy/kubernetes/generate.py

docs: generate ## Build the documentation as a site, build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

services: $(STAMP) ## Install the servers and tools that the tests start
	sh tests/install.sh

e2e: services ## The whole story on real parts, to build/e2e.json and build/screenshots; about two minutes
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.e2e

soak: services ## The tests that `make test` leaves out because they are slow: faults against real servers
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m soak $(PYTEST_FLAGS)

bench: services ## Rates, memory, latency, recovery and models, about 15 minutes and 4 GB; EVENTS=250000 BENCH_FLAGS=--quick
	$(BIN)/python -m tests.benchmarks $(if $(EVENTS),--events $(EVENTS)) $(BENCH_FLAGS)

bench-gateway: services ## What the gateway adds to a bare Envoy at 2,000 requests a second, about a minute; wants four cores
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.benchmarks.gateway

chaos: services ## Break Kafka, Redis, workers and records, and count what that changed; FAULTS=20 EVENTS=200000 SEED=1
	$(BIN)/python -m tests.chaos $(if $(FAULTS),--faults $(FAULTS)) $(if $(EVENTS),--events $(EVENTS)) \
	  $(if $(SEED),--seed $(SEED)) $(CHAOS_FLAGS)

fuzz: $(STAMP) ## Fuzz everything that reads bytes for ten minutes; FUZZ_SECONDS=60
	$(BIN)/python -m tests.fuzz $(if $(FUZZ_SECONDS),--seconds $(FUZZ_SECONDS))

audit: $(STAMP) ## Known vulnerabilities of the locked packages; without OSV, that they are what the locks say
	$(BIN)/python -m tests.security.audit

sbom: $(STAMP) ## The image's packages as CycloneDX, build/sbom.json
	@mkdir -p build
	$(BIN)/python -W ignore -m cyclonedx_py requirements deploy/requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o build/sbom.json

image-check: $(STAMP) ## Run the image's build stage twice, without Docker, and compare every byte; about two minutes
	$(BIN)/python -m tests.image

lock: $(STAMP) ## Pin all dependencies anew, with hashes: everything, what the demo needs, the image
	$(BIN)/pip-compile $(LOCK_FLAGS) --all-extras --build-deps-for=editable --output-file=requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra=embedded --build-deps-for=editable --constraint=requirements.lock \
	  --output-file=requirements-demo.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_FLAGS) --extra=envoy --extra=notify --build-deps-for=wheel --constraint=requirements.lock \
	  --output-file=deploy/requirements.lock pyproject.toml

LOCK_FLAGS := --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header --annotation-style=line \
  --no-emit-index-url --no-emit-trusted-host --no-emit-options

clean: ## Remove .venv and what the tools left
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find stream_guard tests -name __pycache__ -type d -exec rm -rf {} +
