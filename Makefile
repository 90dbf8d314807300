# make demo · make test · make quick · make check · make coverage · make bench · make count · make stress · make fuzz · make docs · make deb · make wheels · make lock
MAKEFLAGS += --no-builtin-rules
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The demo needs only ocicat. If there is a developer's environment, the demo uses that.
DEMO := $(if $(wildcard $(VENV)/.ready),$(VENV),$(VENV)-demo)

.PHONY: demo test quick check coverage bench count stress fuzz docs deb wheels freeze format lock clean

$(VENV)/.ready: pyproject.toml constraints.txt contrib/launcher/ocicat contrib/launcher/ocicat.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)-demo/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	$(VENV)-demo/bin/python -m pip uninstall -qq --yes setuptools pip # a third of the size of the environment, and not needed by the demo
	touch $@

demo: $(DEMO)/.ready
	$(DEMO)/bin/python contrib/demo.py

# Compiles everything once, in two processes. Otherwise each of the processes that run the tests would do so at the same time.
$(VENV)/.compiled: $(VENV)/.ready
	$(BIN)/python -m compileall -q -j 0 catalog migrations
	$(BIN)/python -m pytest --collect-only --quiet tests/c*/ > /dev/null & \
	$(BIN)/python -m pytest --collect-only --quiet tests/[!c]*/ tests/test_*.py > /dev/null; wait; touch $@

# tests/order.py decides which tests run in which process, and which are quick.
test: $(VENV)/.compiled
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

quick: $(VENV)/.compiled
	$(BIN)/python -m pytest --quick --numprocesses auto --dist loadfile

# Without tests/growth, which counts lines with sys.settrace, as coverage does.
coverage: $(VENV)/.ready
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest --numprocesses auto --dist loadfile --ignore tests/growth
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

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

count: $(VENV)/.ready
	$(BIN)/python -m benchmarks.instructions

stress: $(VENV)/.ready
	$(BIN)/python -m tests.stress
	$(BIN)/python -m tests.hosts
	$(BIN)/python -m tests.growth
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Fuzzes the readers of archives for an hour, guided by coverage. Writes inputs that fail to this directory, as crash-* or timeout-*.
FUZZ_SECONDS ?= 3600
fuzz:
	$(PYTHON) -m venv build/fuzz
	build/fuzz/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' atheris
	build/fuzz/bin/python -m tests.fuzz build/corpus -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=512

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
	$(BIN)/python contrib/schema_files.py

# A Debian package for this machine's Debian release: docs/install.md.
deb: $(VENV)/.ready
	$(BIN)/python contrib/debian_package.py

# The wheels of a release: one for all machines, and one per architecture with the native launcher, which is built with a compiler
# from PyPI and needs no libraries.
wheels: $(VENV)/.ready
	$(PYTHON) -m venv build/zig
	build/zig/bin/python -m pip install --quiet ziglang
	OCICAT_LAUNCHER_CC= $(BIN)/python -m build --outdir dist
	for machine in x86_64 aarch64; do \
		OCICAT_LAUNCHER_CC="$(CURDIR)/build/zig/bin/python -m ziglang cc -target $$machine-linux-musl" \
		OCICAT_LAUNCHER_PLATFORM=manylinux_2_17_$$machine.manylinux2014_$$machine.musllinux_1_1_$$machine \
		$(BIN)/python -m build --wheel --outdir dist || exit 1; \
	done
	rm -rf build/zig

# Writes the newest versions that pyproject.toml allows to constraints.txt. Run `make check` and `make test` afterwards.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade --editable '.[dev]'
	build/lock/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf build/lock

clean:
	rm -rf $(VENV) $(VENV)-demo demo-work build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
