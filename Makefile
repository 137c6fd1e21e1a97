# People and CI call the same targets. `make` alone prints what there is.
.DEFAULT_GOAL := help
# a target of the stack is a file in compose/, an image is a block of the bake file
STACKS := $(patsubst compose/%.yaml,up-%,$(filter-out compose/compose.yaml compose/hardware.yaml,$(wildcard compose/*.yaml)))
IMAGES := $(shell sed -n 's/^target "\([a-z][^"]*\)".*/build-\1/p' images/docker-bake.hcl)
.PHONY: help setup run ui hub worker worker-mac $(STACKS) $(IMAGES) down logs ps doctor python \
  test test-chaos test-cheats test-slow test-stack test-gpu bench estimate lint format clean

PYTHON ?= python3
BIN := .venv/bin
BUDGET ?= 60

help: ## print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p; s/^## ([^:]+): (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 15
	@echo "<target> is $(STACKS:up-%=%)"
	@echo "<image> is $(IMAGES:build-%=%)"

setup: .venv/.ready ## make the environment in .venv, from pinned versions

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || { echo "Python's venv module is missing: apt install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,torch,tracking,fleet,calibration,dev]'
	@touch $@

run: setup ## the first experiment: prepare text, train for BUDGET=60 seconds, score, record (120 or more: calibrate first)
	$(BIN)/autoresearch prepare --corpus stdlib
	@if [ $(BUDGET) -ge 120 ]; then \
	  $(BIN)/autoresearch calibrate --unless-calibrated --budget 2 --dataset stdlib --time-budget $(BUDGET); \
	else echo "BUDGET=$(BUDGET) is too short to find out first what suits this machine; BUDGET=120 or more does"; fi
	$(BIN)/autoresearch train --dataset stdlib --time-budget $(BUDGET)

ui: setup ## open the MLflow pages of your runs
	$(BIN)/autoresearch ui

hub: setup ## run the queue and MLflow of a fleet on this machine, without Docker
	$(BIN)/autoresearch hub

worker: setup ## take jobs for this machine from the hub in .env
	$(BIN)/autoresearch worker

worker-mac: worker ## the same on a Mac

## up-<target>: start the whole stack in containers; HUB=host joins a hub elsewhere
$(STACKS): python
	@$(PYTHON) -m compose.stack up $(@:up-%=%)

## build-<image>: build one image of the stack
$(IMAGES):
	docker buildx bake --file images/docker-bake.hcl $(@:build-%=%)

## down, logs, ps, doctor: for the stack; down waits for the running experiment unless NOW=1
down logs ps doctor: python
	@$(PYTHON) -m compose.stack $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than 3.10: say PYTHON=/path/to/a/newer/python3"; exit 2; }

test: setup ## the tests that any machine can run: no GPU, no Docker, nothing slow
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not chaos and not gpu and not metal and not stack and not cheats'

test-slow: setup ## the slow tests
	$(BIN)/python -m pytest -m 'slow and not gpu and not metal and not stack'

test-chaos: setup ## 200 jobs while processes and servers are killed at random, and stock RQ beside it
	$(BIN)/python -m pytest -m chaos -s tests/chaos

test-cheats: setup ## adversarial recipes and kernels against the real system: half an hour, ends with a table
	$(BIN)/python -m pytest tests/services/kernel_lab -m cheats
	$(BIN)/python -m pytest tests/cheats

test-stack: setup ## test the images and the stack in a real Docker engine
	$(BIN)/python -m pytest -m 'stack and not slow' tests/stack

test-gpu: setup ## run everything that needs CUDA and print the table for docs/validation
	$(BIN)/python benchmarks/gpu_validation.py

bench: setup ## print ratios measured side by side: packing, reading rows, overhead of an experiment
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/experiment_overhead.py
	$(BIN)/python -m benchmarks.fleet

estimate: .venv/.lab ## predict the training step on GPUs that are not here; PRESET=, TARGETS=, UPSTREAM=its checkout
	$(BIN)/python -m benchmarks.estimate_table $(if $(PRESET),--preset $(PRESET)) $(if $(TARGETS),--target $(TARGETS)) \
	  $(if $(UPSTREAM),--upstream $(UPSTREAM))

.venv/.lab: .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lab]'
	@touch $@

lint: setup ## check style and types, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and the runs of this checkout
	rm -rf .venv runs
