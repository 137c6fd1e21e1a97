# People and CI call the same targets. `make` alone prints what there is.
.DEFAULT_GOAL := help
# a target of the stack is a file in compose/, an image is a block of the bake file
STACKS := $(patsubst compose/%.yaml,up-%,$(filter-out $(addprefix compose/,compose.yaml hardware.yaml nsight.yaml),$(wildcard compose/*.yaml)))
IMAGES := $(shell sed -n 's/^target "\([a-z][^"]*\)".*/build-\1/p' images/docker-bake.hcl)
.PHONY: help setup run ui overnight hub worker worker-mac $(STACKS) $(IMAGES) down logs ps doctor rotate pin-images python kernel-list \
  test test-chaos test-cheats test-slow test-stack test-mac-simulated test-gpu bench estimate lint format clean

PYTHON ?= python3
BIN := .venv/bin
BUDGET ?= 60
HOURS ?= 8
SWEEP ?= sweeps/overnight.toml

help: ## print this list
	@awk '/^[a-z-]+:.*## / {name = $$0; sub(/:.*/, "", name); sub(/.*## /, "")} \
	  /^## [^:]+: / {name = substr($$0, 4); sub(/: .*/, "", name); sub(/^## [^:]+: /, "")} \
	  name {printf "%-14s %s\n", name, $$0; name = ""}' $(MAKEFILE_LIST)
	@echo "<target> is $(STACKS:up-%=%)"
	@echo "<image> is $(IMAGES:build-%=%)"

setup: .venv/.ready ## make the environment in .venv, from pinned versions

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
	  { echo "$(PYTHON) is not of 3.11 to 3.14: make setup PYTHON=/path/to/python3.11" \
	    "(macOS's own is older: brew install python@3.12, then PYTHON=python3.12)"; exit 2; }
	@if [ "$$(uname)" = Darwin ] && [ "$$(sw_vers -productVersion | cut -d. -f1)" -lt 14 ]; then \
	  echo "macOS $$(sw_vers -productVersion) is too old: PyTorch's and MLX's packages need macOS 14 or newer"; exit 2; fi
	@$(PYTHON) -c 'import ensurepip' || { echo "Python's venv module is missing: apt install python3-venv"; exit 2; }
	@echo "making .venv: pip now downloads PyTorch and the other pinned packages, once; that takes some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar on --disable-pip-version-check -c constraints.txt -e '.[data,torch,tracking,fleet,calibration,dev]'
	@touch $@

run: setup ## the first experiment: prepare text, train for BUDGET=60 seconds, score, record (120 or more: calibrate first)
	$(BIN)/autoresearch prepare --corpus stdlib
	@if [ $(BUDGET) -ge 120 ]; then \
	  $(BIN)/autoresearch calibrate --unless-calibrated --budget 2 --dataset stdlib --time-budget $(BUDGET); \
	else echo "BUDGET=$(BUDGET) is too short to find out first what suits this machine; BUDGET=120 or more does"; fi
	$(BIN)/autoresearch train --dataset stdlib --time-budget $(BUDGET)

ui: setup ## open the MLflow pages of your runs
	$(BIN)/autoresearch ui

overnight: setup ## try settings for HOURS=8, unattended (SWEEP=file, docs/sweeps.md); started again, it continues
	$(BIN)/autoresearch sweep $(SWEEP) --hours $(HOURS)

hub: setup ## run the queue and MLflow of a fleet on this machine, without Docker
	$(BIN)/autoresearch hub

worker: setup ## take jobs for this machine from the hub in .env
	$(BIN)/autoresearch worker

worker-mac: worker ## the same on a Mac

## up-<target>: start the whole stack in containers; HUB=host joins a hub elsewhere, NSIGHT=1 adds profilers
$(STACKS): python
	@$(PYTHON) -m compose.stack up $(@:up-%=%)

## build-<image>: build one image of the stack
$(IMAGES):
	docker buildx bake --file images/docker-bake.hcl $(@:build-%=%)

## down, logs, ps, doctor: for the stack; down waits for the running experiment unless NOW=1
## rotate: forget the stack's passwords; the next up makes new ones
down logs ps doctor rotate: python
	@$(PYTHON) -m compose.stack $@

pin-images: python ## write the digests that the base images have today into the bake file, for builds that stay the same
	@$(PYTHON) -m compose.pin_images

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than 3.10: say PYTHON=/path/to/a/newer/python3"; exit 2; }

kernel-list: setup ## list what is in kernels/ as shipped, when you have read what is new or changed there
	$(BIN)/python -m shared.runs.shipped

test: setup ## the tests that any machine can run: no GPU, no Docker, nothing slow
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not chaos and not gpu and not metal and not stack and not cheats and not simulated'

test-slow: setup ## the slow tests, also those of the stack where a Docker engine can be had
	$(BIN)/python -m pytest -m 'slow and not gpu and not metal and not stack'
	$(BIN)/python -m pytest -m 'slow and stack' tests/stack

test-chaos: setup ## 200 jobs while processes and servers are killed at random, and stock RQ beside it
	$(BIN)/python -m pytest -m chaos -s tests/chaos

test-cheats: setup ## adversarial recipes and kernels against the real system: an hour, ends with a table
	$(BIN)/python -m pytest tests/services/kernel_lab -m cheats
	$(BIN)/python -m pytest tests/cheats

test-stack: setup ## test the images and the stack in a real Docker engine
	$(BIN)/python -m pytest -m 'stack and not slow' tests/stack

test-mac-simulated: setup ## test the ways that only a Mac takes, on a machine that looks like one to the project
	$(BIN)/python -m pytest -n 2 --dist worksteal -m simulated tests/mac_simulated

test-gpu: setup ## run everything that needs CUDA and print the table for docs/validation
	$(BIN)/python -m benchmarks.gpu_validation

bench: setup ## print ratios measured side by side: packing, reading rows, overhead of an experiment
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/experiment_overhead.py
	$(BIN)/python -m benchmarks.fleet

estimate: .venv/.lab ## predict training steps on GPUs that are not here; PRESET=, TARGETS=, UPSTREAM= and PORT=clones, MINUTES=, AGAIN=1
	$(BIN)/python -m benchmarks.estimate_table $(if $(PRESET),--preset $(PRESET)) $(if $(TARGETS),--target $(TARGETS)) \
	  $(if $(UPSTREAM),--upstream $(UPSTREAM)) $(if $(PORT),--port $(PORT)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(AGAIN),--again)

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
