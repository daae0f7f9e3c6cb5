# One file of verbs; a bare `make` lists them. Needs Python 3.11+ and make, and a network only when
# requirements-dev.txt or pyproject.toml changed since the environment was made.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PATHS := agent tests
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint format types bench accept picture clean

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## watch this machine now; ARGS are passed to `burnmeter up`
	$(BIN)/burnmeter up $(ARGS)

test: lint types  ## lint, types and every test; ARGS are passed to pytest
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)  ## ruff's rules and format, changing nothing
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

bench: $(READY)  ## measure; ratios within one run, never a pass or a fail
	@set -e; for bench in tests/bench/bench_*.py; do echo "== $$bench"; PYTHONPATH=. $(BIN)/python $$bench $(ARGS); done

accept: $(READY)  ## write goldens, expected samples and transcripts anew; the diff is the review
	$(BIN)/python -m pytest --accept $(ARGS)

picture: $(READY)  ## take all pictures of the live page anew (about five minutes)
	$(BIN)/python -m tests.page_pictures
	$(BIN)/python -m tests.picture

clean:  ## remove the environment, caches and engines made here
	rm -rf $(VENV) .parts build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PATHS) -name __pycache__ -prune -exec rm -rf {} +

# setuptools is pinned with the rest, so the package itself is built without asking the network.
$(READY): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "burnmeter needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "burnmeter needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." \
	    "Say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV) || { \
	  echo "this Python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) install -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
