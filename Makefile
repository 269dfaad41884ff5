# Each target goes from a bare machine (Python and a package index) to done: it makes .venv, installs, runs.
# A stamp in .venv remembers what is installed; it is redone, and the kernels are compiled again, when one of
# the files in PACKAGE changes.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

# The pins hold for the build tools as well: pip before 25.3 reads the first name there, later ones the second.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PACKAGE := pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*)
INSTALL := $(RUN) -m pip install --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint format docs bench wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Another interpreter: make PYTHON=python3.12 test"

demo: $(VENV)/.installed  ## a real weather series: fit, backtest against the baselines, report
	$(VENV)/bin/gatestack demo --overwrite

test: $(VENV)/.installed-test  ## all tests but the slow ones
	$(RUN) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --durations=10

test-slow: $(VENV)/.installed-test  ## the slow tests only
	$(RUN) -m pytest -m slow

lint: $(VENV)/.installed-test  ## ruff (rules and format), then mypy in strict mode on src/
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

format: $(VENV)/.installed-test  ## put the code into the agreed form
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

docs: $(VENV)/.installed-docs  ## the documentation, in site/
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bench: $(VENV)/.installed  ## what a fit costs on this machine
	$(RUN) benchmarks/fit_speed.py

wheel: $(VENV)/.python  ## an installable file with the compiled kernels, in dist/; needs a C++ compiler
	$(RUN) -m pip wheel --quiet --no-deps --config-settings cmake.define.GATESTACK_REQUIRE_KERNELS=ON --wheel-dir dist .

clean:  ## remove everything the targets above made
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Gatestack needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "hint: name one that is installed here, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python $(PACKAGE)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.python $(PACKAGE)
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.python $(PACKAGE)
	$(INSTALL) --editable '.[docs]'
	@touch $@ $(VENV)/.installed
