# `make` lists every command there is. Each sets up what it needs, with any Python >= 3.11 on PATH.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
	2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test test-all lint types bench docs proto lock check clean

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## make the environment in .venv from the hashed lock file

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "privcompute needs Python 3.11 to 3.14 with venv (on Debian: apt-get install python3-venv)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) with $$($(BIN)/python --version) (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "compiling the kernels, once"
	@$(BIN)/python -c 'from privcompute.node.warm import compile_all; compile_all()'
	@touch $@

demo: $(READY)  ## two node processes answer three SQL questions over a private join
	@$(BIN)/privcompute demo

# A worker that dies is not replaced, but named as a failure: with a new one in its place this distribution never ends.
TESTS := $(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart=0

test: $(READY)  ## the test suite (under ten minutes on two cores)
	@$(TESTS) -m "not long"

test-all: $(READY)  ## the test suite and the long tests: kill matrix, network faults, a million rows
	@$(TESTS)

lint: $(READY)  ## ruff and the layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY)  ## mypy --strict on src and tests
	@$(BIN)/mypy

bench: $(READY)  ## measure, and store each figure with machine and commit under .benchmarks/
	@status=0; for one in benchmarks/bench_*.py; do \
	  $(BIN)/python -m pytest -q -s $$one --benchmark-autosave --benchmark-columns=median,rounds -o timeout=900 || status=1; \
	done; exit $$status  # each in a process of its own: peaks of memory are a process's

docs: $(READY)  ## write docs/protocols.md from the boxes and cards
	@$(BIN)/python -m privcompute.testing.protocol_docs docs/protocols.md

proto: $(READY)  ## generate src/privcompute/wire from protos/
	@$(BIN)/python -m grpc_tools.protoc -Iprivcompute/wire=protos/privcompute/v1 --python_out=src --pyi_out=src \
		$$(cd protos/privcompute/v1 && ls *.proto | sed 's|^|privcompute/wire/|')

lock: $(READY)  ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --group dev --extra frames --universal --generate-hashes --python-version 3.11 \
		--no-header -o requirements.lock

check: lint types test  ## all that must hold before a change lands
	@$(BIN)/python -m privcompute.testing.protocol_docs --check docs/protocols.md

clean:  ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src -name __pycache__ -prune -exec rm -rf {} +
