# `make help` lists the targets. Each works on a fresh clone with nothing else done.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(p)),$(p))))
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
PYTEST_ARGS ?=
SMOLLM2 := .models/SmolLM2-135M-Instruct.gguf

.DEFAULT_GOAL := help
.PHONY: help install browser demo demo-real test unit lint types contracts bench golden samples clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A new entry point is invisible in an editable install until it is installed again, hence the stamp.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; a minute or two)"
	@$(PIP) install -c constraints.txt hatchling editables
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

install: $(STAMP)  ## create .venv with the harness and all that its tests need

demo: $(STAMP)  ## run the shipped default suite on the embedded model; name its report
	@$(BIN)/harness run default --profile --report html

$(SMOLLM2): $(STAMP)
	@$(BIN)/python -m benchmarks.fetch_smollm2 $@

demo-real: $(SMOLLM2)  ## the same suite on the real SmolLM2-135M-Instruct
	@$(BIN)/harness run default --model $(SMOLLM2) --report html

test: lint types contracts unit  ## everything CI asks: lint, types, import contracts, tests

# Debian's Chromium, for the tests that open reports as a person would. Elsewhere they skip, and say so.
browser:  ## install Chromium where it is missing and apt may
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    echo "installing chromium (once)" && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  echo "no Chromium here, and none can be installed: browser tests will skip"

unit: $(STAMP) browser  ## the tests alone
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff: lint and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	@$(BIN)/mypy

contracts: $(STAMP)  ## import-linter: which package may import which
	@$(BIN)/lint-imports --no-cache

golden: $(STAMP)  ## renew the pictures that tests compare with; look at the difference
	@HARNESS_GOLDEN=1 $(BIN)/python -m pytest -n 0 -q tests/reports/charts/test_images.py

samples: $(STAMP)  ## sample report, site and pictures from docs/sample/store; FRESH=1 runs anew
	@$(if $(FRESH),$(MAKE) --no-print-directory $(SMOLLM2))
	@$(BIN)/python docs/sample/make.py $(if $(FRESH),--fresh)

bench: $(STAMP)  ## the harness measured by itself
	@$(BIN)/python -m pytest benchmarks --benchmark-only -o addopts="--import-mode=importlib"

clean:  ## remove what can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist
