# make demo, make test and make lint do their own set-up: they need python3 (3.11 or newer) and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
REQUIREMENTS := setup.cfg constraints.txt pyproject.toml
DEMO := demo/context_scenes

# Demonstration and tests are small: on the CPU they give the same result on every machine.
# To run them elsewhere: make JAX_PLATFORMS= demo
JAX_PLATFORMS ?= cpu
export JAX_PLATFORMS

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format docs install accelerators clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Another Python: make PYTHON=python3.12 demo'

demo: $(VENV)/.core  ## Train a small PSPNet on generated scenes, then evaluate it (a few minutes)
	@$(BIN)/pspnet train --config=context_scenes --workdir=$(DEMO)
	@$(BIN)/pspnet evaluate --workdir=$(DEMO)

test: lint  ## Lint, check types, run the tests
	@echo 'The tests that compare digits, on programs as users compile them:'
	@PSPNET_TESTS_OPTIMISED=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m digits
	@echo 'All tests, on programs that compile fast:'
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: $(VENV)/.test  ## Lint, formatting and types only
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

format: $(VENV)/.test  ## Rewrite the sources as `make lint` wants them
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

docs: $(VENV)/.docs  ## Build the documentation's site, notebooks and all (some minutes the first time)
	@$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo 'The site is docs/_build/html/index.html.'

install: $(VENV)/.core  ## Only set up .venv

accelerators:  ## Set up the compilers for GPUs and TPUs in .venv-cuda and .venv-tpu (8 GB)
	@$(MAKE) --no-print-directory VENV=.venv-cuda .venv-cuda/.cuda12
	@$(MAKE) --no-print-directory VENV=.venv-tpu .venv-tpu/.tpu
	@echo 'No device is needed:'
	@echo '  .venv-cuda/bin/pspnet plan --config=ade20k_pspnet50 --topology=h100'
	@echo '  .venv-tpu/bin/pspnet plan --config=ade20k_pspnet50 --topology=v5e:2x2'

clean:  ## Remove .venv*, the demonstration's results and all caches
	rm -rf $(VENV) .venv-cuda .venv-tpu demo build dist docs/_build docs/notebooks *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment; `make clean` first to make it anew with another Python.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'There is no $(PYTHON): install Python 3.11 or newer, or name it: make PYTHON=python3.12' >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pspnet_jax needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
	    'try make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	@echo 'Setting up $(VENV) ...'
	@# Debian's python3 can make an environment, but not put pip into it: its own pip does that.
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear $(VENV); else \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install -qq pip; fi || { \
	  echo '$(PYTHON) cannot make an environment: install pip or, on Debian, python3-venv' >&2; exit 1; }
	@touch $@

# One stamp for each set of requirements; the tests' set holds the core's.
$(VENV)/.core: $(VENV)/.made $(REQUIREMENTS)
	@echo 'Installing pspnet_jax into $(VENV) (about a minute, once) ...'
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.made $(REQUIREMENTS)
	@echo 'Installing pspnet_jax and its test tools into $(VENV) (a minute or two, once) ...'
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.core

$(VENV)/.docs: $(VENV)/.made $(REQUIREMENTS)
	@echo "Installing pspnet_jax and the documentation's tools into $(VENV) (a minute or two, once) ..."
	@$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.core

# The compilers of one platform, by the extra that brings them.
$(VENV)/.cuda12 $(VENV)/.tpu: $(VENV)/.made $(REQUIREMENTS)
	@echo 'Installing pspnet_jax and jax[$(patsubst .%,%,$(@F))] into $(VENV) (some minutes, once) ...'
	@$(PIP) -e '.[$(patsubst .%,%,$(@F))]'
	@touch $@
