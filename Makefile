# People and CI call the same targets. `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help setup run ui hub worker worker-mac test test-chaos test-slow test-gpu bench lint format clean

PYTHON ?= python3
BIN := .venv/bin
BUDGET ?= 60

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## the environment in .venv, from pinned versions

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || { echo "Python's venv module is missing: apt install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,torch,tracking,fleet,dev]'
	@touch $@

run: setup ## the first experiment: prepare text, train BUDGET=60 seconds, score, record
	$(BIN)/autoresearch prepare --corpus stdlib
	$(BIN)/autoresearch train --preset m5-tiny --dataset stdlib --time-budget $(BUDGET)

ui: setup ## the MLflow pages of your runs
	$(BIN)/autoresearch ui

hub: setup ## the queue and MLflow of a fleet, on this machine, without Docker
	$(BIN)/autoresearch hub

worker: setup ## takes jobs of this machine's target from the hub in .env
	$(BIN)/autoresearch worker

worker-mac: worker ## the same on a Mac that has the hub's .env: joins it as target mac

test: setup ## everything that runs in minutes on any machine
	$(BIN)/python -m pytest -m 'not slow and not chaos and not gpu and not metal'

test-slow: setup ## what takes longer
	$(BIN)/python -m pytest -m 'slow and not gpu and not metal'

test-chaos: setup ## 200 jobs while processes and servers are killed at random, and stock RQ beside it
	$(BIN)/python -m pytest -m chaos -s tests/chaos

test-gpu: setup ## everything that needs CUDA, and the table for docs/validation
	$(BIN)/python benchmarks/gpu_validation.py

bench: setup ## ratios, measured side by side: packing, reading rows, overhead of an experiment
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/experiment_overhead.py
	$(BIN)/python -m benchmarks.fleet

lint: setup ## style, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## style, applied
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and the runs of this checkout
	rm -rf .venv runs
