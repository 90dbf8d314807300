# make demo · make test · make check · make bench · make stress · make docs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench stress docs freeze format clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python contrib/demo.py

# A file of tests stays with one process: its tests share layouts, catalogs and servers.
test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m catalog.db.freeze --check
	$(BIN)/python -m catalog.cli.freeze --check
	$(BIN)/python -m pytest tests/db/test_schema.py

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

stress: $(VENV)/.ready
	$(BIN)/python -m tests.stress
	$(BIN)/python -m tests.hosts
	$(BIN)/python -m tests.growth
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -m hypothesis --numprocesses auto --dist loadfile

freeze: $(VENV)/.ready
	$(BIN)/python -m catalog.db.freeze
	$(BIN)/python -m catalog.cli.freeze

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready
	$(BIN)/python contrib/sql_docs.py
	$(BIN)/python contrib/command_docs.py
	$(BIN)/python contrib/completion_files.py
	$(BIN)/python contrib/man_pages.py

clean:
	rm -rf $(VENV) demo-work build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
