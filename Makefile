# cirlib: set up, regenerate the results, test. Needs Python 3.11 or newer and make, nothing else.
PROFILE ?= mini
JOBS ?= 1
CORES := $(shell getconf _NPROCESSORS_ONLN)
PYTHON ?= python3.11 python3.12 python3.13 python3 python
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS := --numprocesses auto --maxprocesses 8 --dist loadfile

# Waiting threads sleep instead of spinning: on a busy two-core machine a training step is up to ten times faster, on an idle one as fast.
export OMP_WAIT_POLICY := passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ifeq ($(filter $(PROFILE),smoke mini full),)
$(error PROFILE is '$(PROFILE)', which is not a profile; use PROFILE=smoke, PROFILE=mini or PROFILE=full)
endif

.DEFAULT_GOAL := help
.PHONY: help setup results test test-slow lint format hooks lab check clean

# List what can be made.
help:
	@awk '/^# /{text=substr($$0, 3)} /^[a-z-]+:/{sub(":.*", ""); printf "make %-10s %s\n", $$0, text}' Makefile

# Make .venv from requirements.lock, with the cirlib command in it.
setup: $(STAMP)

# Regenerate results/ with every notebook; PROFILE=smoke|mini|full (default mini), JOBS=1 notebooks at a time.
results: $(STAMP)
	@mkdir -p results/$(PROFILE)
	@echo "Running the notebooks in profile $(PROFILE), $(JOBS) at a time. Results go to results/$(PROFILE)/; what is up to date stays."
	@$(BIN)/python -m snakemake --cores $(CORES) --config profile=$(PROFILE) jobs=$(JOBS) --rerun-incomplete --nolock --keep-going --quiet all
	@echo "Up to date: results/$(PROFILE)/ holds metrics/, tables/, figures/, notebooks/ (executed) and logs/."

# Run the fast tests, on every core.
test: $(STAMP)
	$(BIN)/python -m pytest $(WORKERS)

# Run the slow tests too.
test-slow: $(STAMP)
	$(BIN)/python -m pytest $(WORKERS) -m "slow or not slow"

# Look for mistakes in code, notebooks and spelling; changes nothing.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/nbstripout --verify notebooks/*.ipynb

# Lay out code and notebooks as lint wants them, and strip the notebooks.
format: $(STAMP)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

# Install the git hooks: the same tools at the same versions as CI, and notebooks stored without outputs.
hooks: $(STAMP)
	$(BIN)/pre-commit install
	git config filter.nbstripout.clean $(BIN)/nbstripout
	git config filter.nbstripout.smudge cat
	git config diff.ipynb.textconv "$(BIN)/nbstripout -t"

# Open the notebooks in JupyterLab.
lab: $(STAMP)
	$(BIN)/jupyter lab notebooks

# Do everything that CI does: set up, lint, the smoke pipeline from scratch, its numbers, the tests.
check:
	.ci/run

# Remove caches and the smoke results; keeps .venv and the results of the other profiles.
clean:
	rm -rf results/smoke .snakemake .pytest_cache .ruff_cache .hypothesis build dist
	find cirlib tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@if ! [ -x $(BIN)/python ]; then \
	  for python in $(PYTHON); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "cirlib needs Python 3.11 or newer and found $$(python3 --version 2>/dev/null || echo none);" \
	      "install it, or name it: make setup PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$($$found --version)."; \
	  $$found -m venv $(VENV); \
	fi
	@echo "Installing requirements.lock into $(VENV): two minutes and 2 GB (a CUDA build of torch: 6 GB)."
	@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; $(BIN)/python -m pip install $$quiet -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "Done: $(BIN)/cirlib check says whether this machine is ready."
