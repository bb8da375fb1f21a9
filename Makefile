# `make eval` runs the main job, `make test` the tests; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := runs
CLIPS := 64
MODELS := ground-truth reconstruction tiny-flow shifted:0.4 shuffled noise silence

.PHONY: help setup eval test lint clean

help:
	@echo "make eval   set up, render $(CLIPS) clips, evaluate tiny-flow and controls, write $(RUNS)/leaderboard.{md,csv}"
	@echo "make test   set up and run the tests"
	@echo "make lint   ruff, and mypy against the installed wheel"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "v2abench needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

setup: $(VENV)/.installed

eval: setup
	$(BIN)/v2abench eval --dataset impacts --limit $(CLIPS) --protocol impacts --output $(RUNS) --overwrite \
	  $(addprefix --model ,$(MODELS))
	$(BIN)/v2abench leaderboard build $(addprefix $(RUNS)/impacts-test/impacts/,$(MODELS)) \
	  --output $(RUNS)/leaderboard --sort-by Onset-F1 --quiet

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# A type checker cannot follow the editable install's import hook, so it reads the installed wheel.
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build $(VENV)/wheel
	$(BIN)/python -m build --wheel --outdir $(VENV)/wheel . > /dev/null
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/wheel/site $(VENV)/wheel/*.whl
	cd $(VENV)/wheel && MYPYPATH=site ../bin/mypy --config-file ../../pyproject.toml --python-executable ../bin/python -p v2abench

clean:
	rm -rf build dist $(RUNS) .pytest_cache .mypy_cache .ruff_cache *.egg-info
