# make demo | test | lint: each sets up what it needs in .venv first, and a second time does not.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

# Tailor starts fresh processes (to verify, to resume): with compiled modules kept, each is there in half the time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint

demo: .venv/.runtime
	$(BIN)/tailor demo

test: .venv/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 20

lint: .venv/.dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/.runtime: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Tailor and what it runs on (torch is large: this is one download of some minutes)"
	$(PIP_INSTALL) -e .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Tailor with its test tools (torch is large: this is one download of some minutes)"
	$(PIP_INSTALL) -e '.[dev]'
	@touch .venv/.runtime $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "Tailor needs Python 3.10 or newer, this is %d.%d; try: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
