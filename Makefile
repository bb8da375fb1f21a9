# `make eval` runs the main job, `make test` the tests; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := runs
CLIPS := 64
MODELS := ground-truth reconstruction tiny-flow shifted:0.4 shuffled noise silence
DEMO := $(RUNS)/demo
# What `make demo` shows, in this order: models by name, or as LABEL=SPEC; all at one guidance scale.
DEMO_MODELS := ground-truth tiny-flow tiny-flow-DPO=$(DEMO)/dpo tiny-flow-DDPO=$(DEMO)/ddpo shuffled
DEMO_ALIGNED := $(DEMO)/dpo/aligned.json $(DEMO)/ddpo/aligned.json
DEMO_CLIPS := 16
DEMO_GUIDANCE := 1.5
DEMO_PROTOCOL := impacts
DEMO_BASE := tiny-flow
DEMO_LABELS := $(foreach model,$(DEMO_MODELS),$(firstword $(subst =, ,$(model))))
DEMO_RUNS := $(addprefix $(DEMO)/impacts-test/$(DEMO_PROTOCOL)/,$(DEMO_LABELS))

.PHONY: help setup eval demo test lint clean

help:
	@echo "make eval   set up, render $(CLIPS) clips, evaluate tiny-flow and controls, write $(RUNS)/leaderboard.{md,csv}"
	@echo "make demo   set up, align tiny-flow by DPO and DDPO, render $(DEMO_CLIPS) clips, write a board and a gallery"
	@echo "make test   set up and run the tests"
	@echo "make lint   ruff, and mypy against the installed wheel"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "v2abench needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-finetune: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[finetune]"
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

# DPO in small: a third of its recipe's steps, on a fifth of its clips. DDPO: 10 rollouts, its recipe has 8.
$(DEMO)/dpo/aligned.json: | $(VENV)/.installed-finetune
	$(BIN)/v2abench finetune dpo --output $(@D) --no-board --max-steps 60 --set preferences.clips=64 --set panel=null

$(DEMO)/ddpo/aligned.json: | $(VENV)/.installed-finetune
	$(BIN)/v2abench finetune ddpo --output $(@D) --no-board --max-steps 20 --set panel=null

demo: setup $(DEMO_ALIGNED)
	$(BIN)/v2abench eval --dataset impacts --limit $(DEMO_CLIPS) --protocol $(DEMO_PROTOCOL) --output $(DEMO) \
	  --overwrite --guidance-scale $(DEMO_GUIDANCE) $(addprefix --model ,$(DEMO_MODELS))
	$(BIN)/v2abench leaderboard build $(DEMO_RUNS) --base $(DEMO_BASE) --intervals \
	  --output $(DEMO)/board --formats md,csv,tex,html --quiet
	$(BIN)/v2abench leaderboard plot $(DEMO_RUNS) --output $(DEMO)/plots
	$(BIN)/v2abench gallery $(DEMO_RUNS) --out $(DEMO)/site

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

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
