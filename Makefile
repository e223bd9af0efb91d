# `make env` installs into .venv; every other target does so first. Nothing is done twice.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CPP    := $(shell git ls-files 'cuda_ops/*.cpp' 'cuda_ops/*.h' 'cuda_ops/*.cu' 'cuda_ops/*.cuh' 2>/dev/null)
# What the compiled operators are made of.
NATIVE := setup.py pyproject.toml $(shell find cuda_ops/csrc -type f 2>/dev/null)

.PHONY: env demo test docs lint format bench sanitize clean help

help:
	@echo "make env       install everything into $(VENV) (nothing to do when up to date)"
	@echo "make demo      synthetic rooms -> training -> report in runs/demo"
	@echo "make test      all tests"
	@echo "make docs      the documentation site in build/site"
	@echo "make lint      ruff and clang-format, without changing anything"
	@echo "make format    the same, changing files"
	@echo "make bench     time every operator against the packages that offer it"
	@echo "make sanitize  operator tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make clean     remove build products (not $(VENV), data, runs)"

env: $(VENV)/.package

$(VENV)/.requirements: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make env: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing);" \
	         "name another: make env PYTHON=python3.12" >&2; exit 2; }
	@echo "installing the locked requirements into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@

$(VENV)/.package: $(VENV)/.requirements $(NATIVE)
	@echo "building pointseg and pointnet2_ops"
	@$(BIN)/pip install --verbose --disable-pip-version-check --no-build-isolation --no-deps --editable . \
	    > $(VENV)/build.log 2>&1 || { \
	    grep -aq 'the compiler.s messages' $(VENV)/build.log && cat $(VENV)/build.log >&2; \
	    echo "$$(grep -ao 'pointnet2_ops: .*' $(VENV)/build.log | tail -n 1) (all of it: $(VENV)/build.log)" >&2; exit 2; }
	@grep -ao 'pointnet2_ops: .*' $(VENV)/build.log
	@touch $@

demo: env
	$(BIN)/pointseg demo

test: env
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal

# In an environment of its own: nothing of it is needed to run or test the project.
$(VENV)-docs/.requirements: docs/requirements.lock
	@$(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/pip install --quiet --disable-pip-version-check --requirement docs/requirements.lock
	@touch $@

docs: $(VENV)-docs/.requirements
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html"

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: env
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.lock
	$(BIN)/python scripts/bench_ops.py

sanitize: env
	scripts/sanitize.sh

clean:
	rm -rf build dist wheelhouse *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks
	find cuda_ops -name '*.so' -delete
	find pointseg cuda_ops tests scripts benchmarks -name __pycache__ -type d -exec rm -rf {} + 2>/dev/null || true
	rm -f $(VENV)/.package
