# The only commands anyone needs; `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
DATA_DIR ?= var
PORT ?= 8000
OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-full-size check fix openapi bench faults load train-mini evaluate-mini clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --editable '.[dev]'
	@touch $@

setup: $(VENV)/.installed-dev ## make the environment, tools of developers included

demo: $(VENV)/.installed ## animate examples/ through the whole service into demo.mp4 and demo.png
	@$(BIN)/python -m examples.demo

serve: $(VENV)/.installed ## run the whole service on this machine (PORT=8000 DATA_DIR=var)
	@$(BIN)/keyvid serve --port $(PORT) --data-dir $(DATA_DIR)

test: $(VENV)/.installed-dev ## run every test, with the real servers they need
	@tests/install-servers
	@$(BIN)/python -m pytest

test-full-size: $(VENV)/.installed-dev ## run the published networks once at full size, with random weights (minutes, 7 GB)
	@$(BIN)/python -m pytest -m full_size tests/full_size

check: $(VENV)/.installed-dev ## format, lint, types, imports, Dockerfile and compose file; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

fix: $(VENV)/.installed-dev ## format and mend what can be mended by a tool
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

openapi: ## write the OpenAPI document to clients/openapi.json, after a change to the HTTP API (needs `make setup` once)
	@$(BIN)/keyvid openapi > clients/openapi.json.new
	@mv clients/openapi.json.new clients/openapi.json

bench: $(VENV)/.installed-dev ## measure time, memory and sync, and print the tables of docs/performance.md
	@$(BIN)/keyvid bench steps clip start service sync --json benchmarks/results.json

faults: $(VENV)/.installed-dev ## prove that nothing is lost: kill everything, everywhere (half an hour; OPTIONS=--short: 5)
	@tests/install-servers
	@$(BIN)/python -m benchmarks.faults $(OPTIONS)

load: $(VENV)/.installed-dev ## measure creates, polls, uploads and a soak (6 minutes; OPTIONS=--soak-hours 2)
	@$(BIN)/python -m benchmarks.load $(OPTIONS)

train-mini: $(VENV)/.installed ## train keyvid-mini from a seed into runs/ (two hours on two cores)
	@$(BIN)/keyvid train --out runs/keyvid-mini

evaluate-mini: $(VENV)/.installed-dev ## measure keyvid-mini on held-out clips into runs/ (40 minutes on two cores)
	@mkdir -p runs/evaluation
	@$(BIN)/keyvid evaluate --json runs/evaluation/keyvid-mini.json --markdown runs/evaluation/keyvid-mini.md --images docs/images $(OPTIONS)

clean: ## remove what these commands made, the environment included
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo.mp4 demo.png
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
