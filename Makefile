# Two commands on a fresh machine: `make talk` starts Parley, `make test` proves it works.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: talk test setup check

talk: setup
	$(BIN)/parley serve

test: setup .venv/.test-ready
	$(BIN)/python -m pytest

check: setup .venv/.test-ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

setup: .venv/.ready

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  'Parley needs Python 3.11 or newer: name one, as in `make talk PYTHON=python3.12`.'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on -e .
	touch $@

.venv/.test-ready: .venv/.ready tests/system-packages.txt
	$(BIN)/python -m pip install --progress-bar on -e '.[dev]'
	./tests/install-system-packages
	touch $@
