# A fresh machine needs nothing but Python (3.10 to 3.13) and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test dev lint types clean

demo: $(VENV)/.base
	$(BIN)/projner demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

dev: $(VENV)/.dev

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist demo-output

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/.lint: $(VENV)/.base
	$(PIP) --editable '.[lint]'
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) --editable '.[dev]'
	touch $@
