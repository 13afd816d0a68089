# `make demo` shows what it does, `make test` proves it. Both need Python 3.11+, pip and make.

PYTHON ?= python3
BIN := .venv/bin
DEPLOYER := $(BIN)/deployer -C .demo
TESTS ?= tests e2e/local
PYTEST_ARGS ?=

.PHONY: demo demo-down test lint docs bench clean

demo: .venv/installed
	@mkdir -p .demo
	@out=$$($(DEPLOYER) create demo 2>&1) || [ $$? -eq 4 ] || { echo "$$out"; exit 1; }
	@$(DEPLOYER) deploy demo
	@echo
	@echo "Open it in a browser. Look at it:  $(DEPLOYER) status demo"
	@echo "Take it down again:                make demo-down"

demo-down: .venv/installed
	@$(DEPLOYER) destroy demo --yes

test: .venv/test-installed
	$(BIN)/python -m pytest -n 3 --dist worksteal $(TESTS) $(PYTEST_ARGS)

lint: .venv/test-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/test-installed
	$(BIN)/python docs/generate.py

bench: .venv/test-installed
	$(BIN)/python e2e/bench/bench.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	@echo "Installing into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/test-installed: .venv/installed
	@$(BIN)/pip install --quiet --disable-pip-version-check "pip>=25.1"
	@$(BIN)/pip install --quiet --disable-pip-version-check --group test
	@touch $@

clean:
	rm -rf .venv dist build
