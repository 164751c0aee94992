# `make help` lists the targets. Every target sets up .venv first if it has to, so any of them can be the first command.
# Pass configuration or tool arguments with ARGS: make train ARGS="experiment=synthetic model.k=3"

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Tests of one file share a run, so they stay in one process; `make test PARALLEL=` runs all of them in one.
PARALLEL ?= --numprocesses auto --dist loadfile

# The first Python on the PATH that is new enough; `make setup PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$python; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo train evaluate page export smoke test test-slow lint format typecheck check bench gpu-check study wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  Arguments go in ARGS: make train ARGS="experiment=synthetic model.k=3"; make test ARGS="-k beam -x"'
	@echo '  Every configuration key with its type, default and meaning: $(BIN)/python train.py --help'

setup: $(STAMP) ## create .venv and install everything with the tested versions (about 2 minutes and 8 GB)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'setup: no Python 3.11 or newer on the PATH; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo 'setup: $(PYTHON) is not Python 3.11 or newer; name another: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'setup: $(PYTHON) cannot create virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv) or name another Python: make $(MAKECMDGOALS) PYTHON=/path/to/python' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev,text,image]'
	@touch $@

demo: $(STAMP) ## the whole main job on the built-in data: train every stage, evaluate, print the table and the report's path
	$(BIN)/python train.py experiment=synthetic $(ARGS)

train: $(STAMP) ## train.py with ARGS
	$(BIN)/python train.py $(ARGS)

evaluate: $(STAMP) ## evaluate.py with ARGS, for example ARGS="run=runs/NAME"
	$(BIN)/python evaluate.py $(ARGS)

page: $(STAMP) ## a page to complete outfits on, http://127.0.0.1:7860, around the built-in run, which is trained first
	@test -f runs/page/report/results.json || $(BIN)/python train.py experiment=synthetic run_dir=runs/page
	$(BIN)/python serve.py run=runs/page $(ARGS)

export: $(STAMP) ## a finished run as one folder for others, for example ARGS="run=runs/NAME folder=exported"
	$(BIN)/python -m pipeline.export $(ARGS)

smoke: $(STAMP) ## every stage on a tiny subset, in about a minute: does it run at all?
	$(BIN)/python train.py experiment=smoke $(ARGS)

test: $(STAMP) ## the tests, without the slow ones
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-slow: $(STAMP) ## the slow tests: whole runs, kills and resumption, two ranks
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGS)

lint: $(STAMP) ## style and formatting, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

typecheck: $(STAMP) ## mypy --strict on outfits/
	$(BIN)/mypy

bench: $(STAMP) ## how fast S is asked about a catalogue, and an outfit completed (about 12 minutes; docs/performance.md)
	$(BIN)/python benchmarks/score_catalogue.py
	$(BIN)/python benchmarks/complete.py
	$(BIN)/python benchmarks/complete.py --items 1000000 --batches 1 --index ivf

gpu-check: $(STAMP) ## does a GPU compute what the CPU does, and how fast? One table, under eight minutes; nothing without a GPU
	$(BIN)/python benchmarks/gpu_check.py $(ARGS)

study: $(STAMP) ## the README's tables over three seeds; hours, resumable: make study ARGS="experiment=mango data.root=data/mango"
	$(BIN)/python benchmarks/study.py $(ARGS)

check: lint typecheck test ## lint, typecheck and test: run before a commit

wheel: $(STAMP) ## build the wheel with the installed commands into dist/
	rm -rf build
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove build products and tool caches; keeps .venv, data/, cache/ and runs/
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
