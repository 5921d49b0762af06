# What can be done with a clone; `make` alone lists it. Needs Python 3.11 or later and a package index.
# GNU make 3.81 (the one that comes with macOS) is enough.

# the interpreter: the first of these that is new enough, or `make PYTHON=/path/to/python3.12 ...`
PYTHON ?=
CANDIDATES = python3 python3.13 python3.12 python3.11 python3.14
VENV ?= .venv
BIN = $(VENV)/bin
# the environment of alibi-detect, whose releases need Python 3.11
ALIBI_VENV ?= .venv-alibi
ALIBI_PYTHON ?= python3.11
# the environment of Evidently and NannyML, which stand beside driftd in bench/quality
PEERS_VENV ?= .venv-peers
PEERS_PYTHON ?= python3.11
# further arguments for what is run: `make test ARGS="-k labels"`, `make demo ARGS=--help`
ARGS ?=
# one benchmark only: `make bench BENCH=throughput`
BENCH ?=
# `make lock UPGRADE=--upgrade` takes the newest releases
UPGRADE ?=

PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
INSTALLED = $(VENV)/.installed
INSTALLED_DEV = $(VENV)/.installed-dev
LOCK_VENV = $(VENV)-lock
LOCK = $(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help demo run install test lint bench docs soak alibi peers lock clean

help: ## list what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## the whole loop before your eyes, in under a minute
	@$(BIN)/driftd demo $(ARGS)

run: $(INSTALLED) ## the daemon, on http://127.0.0.1:6066
	@$(BIN)/driftd run $(ARGS)

install: $(INSTALLED) ## driftd and what it needs into .venv, nothing more

test: $(INSTALLED_DEV) ## all tests; what this machine cannot offer is skipped by name
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile $(ARGS)

lint: $(INSTALLED_DEV) ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(INSTALLED_DEV) ## every benchmark, one after the other (BENCH=name for one)
	@for file in $$(grep -ls '__main__' $(foreach part,.py /__main__.py,bench/$(or $(BENCH),*)$(part))); do \
		echo "== $$file"; $(BIN)/python $$file $(ARGS) || exit 1; \
	done

docs: $(INSTALLED) ## write down what the code says: settings, command line, HTTP interface
	@$(BIN)/python docs/build.py

soak: $(INSTALLED_DEV) ## all tests again, with many more and random examples; takes long
	@DRIFTD_TEST_PROFILE=soak $(BIN)/python -m pytest $(ARGS)

alibi: $(ALIBI_VENV)/.installed ## what the detectors of alibi-detect need, in an environment of its own (2.2 GB)

peers: $(PEERS_VENV)/.installed ## what bench/quality is measured beside: Evidently and NannyML, in an environment of their own (2 GB)

lock: ## resolve the dependencies again and write the lock files
	@$(call find_python) && "$$python" -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	$(LOCK) --group build -c requirements-dev.lock -o requirements-build.lock
	$(LOCK) --group alibi -o requirements-alibi.lock
	$(LOCK) --group peers -o requirements-peers.lock
	@rm -rf $(LOCK_VENV)

clean: ## remove what make has made, but no data
	rm -rf $(VENV) $(ALIBI_VENV) $(PEERS_VENV) $(LOCK_VENV) dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# sets $python in the shell to the first interpreter that is new enough
define find_python
python=; for one in $(or $(PYTHON),$(CANDIDATES)); do \
	if "$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$one; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "driftd needs Python 3.11 or later; found none as: $(or $(PYTHON),$(CANDIDATES))." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
fi
endef

$(BIN)/python:
	@$(call find_python); echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(INSTALLED): requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Installing what driftd needs into $(VENV): once, and a minute or two"
	@$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED_DEV): requirements-dev.lock $(INSTALLED)
	@echo "Installing what tests and lint need into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

$(ALIBI_VENV)/.installed: requirements-alibi.lock
	@"$(ALIBI_PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "alibi-detect 0.11.4 needs Python 3.11, and $(ALIBI_PYTHON) is none." >&2; \
		echo "Install it, or name it: make alibi ALIBI_PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing alibi-detect into $(ALIBI_VENV): once, and some minutes"
	@"$(ALIBI_PYTHON)" -m venv $(ALIBI_VENV)
	@$(ALIBI_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-alibi.lock
	@touch $@

$(PEERS_VENV)/.installed: requirements-peers.lock
	@"$(PEERS_PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "Evidently and NannyML are pinned for Python 3.11, and $(PEERS_PYTHON) is none." >&2; \
		echo "Install it, or name it: make peers PEERS_PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing Evidently and NannyML into $(PEERS_VENV): once, and some minutes"
	@"$(PEERS_PYTHON)" -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements-peers.lock
	@touch $@
