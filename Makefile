# Everything happens in .venv; nothing is installed globally. `make` alone lists the targets.
# ARGS is passed on: make demo ARGS="--for 10", make test ARGS="-k book", make requirements ARGS=--upgrade

PYTHON ?= python3
ARGS ?=

# A stamp's name holds what its installation depends on. Tool settings in pyproject.toml come last in it and are left out.
KEY := $(shell { cat requirements/*.txt; sed '/^\[tool\./,$$d' pyproject.toml; pwd; $(PYTHON) -V 2>&1; } | cksum | cut -d' ' -f1)
RUN := .venv/.installed-run-$(KEY)
DEV := .venv/.installed-$(KEY)
BENCH := .venv/.installed-bench-$(KEY)
COMPARED := tests/analytics/others/requirements
OTHERS := .venv-others/.installed-$(shell { cat $(COMPARED).txt; pwd; $(PYTHON) -V 2>&1; } | cksum | cut -d' ' -f1)
INSTALL := -m pip --quiet --disable-pip-version-check install
PIP := .venv/bin/python $(INSTALL)
# The resolver sees the public packages only: no settings, no wheel folder and no further index of this machine.
COMPILE := env -u UV_FIND_LINKS -u UV_INDEX -u UV_EXTRA_INDEX_URL .venv/bin/python -m uv --quiet --no-config pip compile \
	--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header $(ARGS)

.PHONY: help venv others test lint types check demo clients doors bench requirements clean
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

demo: $(RUN)  ## try it out on the built-in market: no account, no network [ARGS="--for 10"]
	@.venv/bin/leadline demo $(ARGS)

test: $(DEV)  ## run the tests [ARGS="tests/core -k gap"]
	@.venv/bin/python -m pytest $(ARGS)

lint: $(DEV)  ## style and format, by ruff
	@echo "lint: ruff check, ruff format --check"
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .

types: $(DEV)  ## types, by mypy --strict
	@echo "types: mypy --strict -p leadline"
	@.venv/bin/python -m mypy --strict -p leadline

check: lint types test  ## all three of them

clients: $(DEV)  ## other people's clients against the stand-in [ARGS="--only ccxt"]
	@.venv/bin/python -m standin_clients $(ARGS)

doors: $(DEV)  ## other people's clients against our doors [ARGS="--only inspector"]
	@.venv/bin/python -m door_clients $(ARGS)

bench: $(BENCH)  ## measure the promises [ARGS]
	@.venv/bin/python -m bench $(ARGS)

venv: $(DEV)  ## .venv with everything that development needs
	@echo "venv: .venv is ready"

others: $(OTHERS)  ## .venv-others with the packages that some tests compare our figures with
	@echo "others: .venv-others is ready"

requirements:  ## pin requirements/*.txt anew from pyproject.toml [ARGS=--upgrade takes newer versions]
	@echo "requirements: bench.txt, then dev.txt and run.txt with the same versions; $(COMPARED).txt"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) uv
	@$(COMPILE) --group build --group dev --group bench -o requirements/bench.txt pyproject.toml
	@$(COMPILE) --group build --group dev --constraints requirements/bench.txt -o requirements/dev.txt pyproject.toml
	@$(COMPILE) --group build --constraints requirements/bench.txt -o requirements/run.txt pyproject.toml
	@$(COMPILE) -o $(COMPARED).txt $(COMPARED).in

clean:  ## remove .venv, .venv-others, .venv-clients, .venv-doors, caches and build folders; recorded data stays
	@echo "clean: .venv, caches, build folders"
	@rm -rf .venv .venv-others .venv-clients .venv-doors build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A new key starts from an empty .venv: what is no longer required is no longer there.
$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Leadline needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) -V 2>&1 | tail -n 1`. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "venv: .venv with requirements/run.txt"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(DEV): $(RUN)
	@echo "venv: requirements/dev.txt"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(BENCH): $(DEV)
	@echo "venv: requirements/bench.txt"
	@$(PIP) --require-hashes -r requirements/bench.txt
	@touch $@

# Wheels only: to build an old numpy for a new Python would take long, and fail.
$(OTHERS): | $(RUN)
	@echo "others: .venv-others with $(COMPARED).txt"
	@$(PYTHON) -m venv --clear .venv-others
	@.venv-others/bin/python $(INSTALL) --only-binary :all: --require-hashes -r $(COMPARED).txt
	@touch $@
