# Recipes for people. `make` lists them; each makes its environment first and says what it does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
FIND_PYTHON := for found in python3 python3.11; do \
	$$found -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$found && break; done
PYTHON ?= $(shell $(FIND_PYTHON))
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt) pyproject.toml
TORCH := $(shell grep '^torch==' requirements.txt)
SOURCES := fedcore plugins project benchmarks examples tests manage.py docs
export ONCE GOOD BAD LOG
export NO_MKDOCS_2_WARNING := 1

define say
@printf '\n\033[1m== %s\033[0m\n' "$(1)"
endef

help: ## List the recipes
	@printf 'fedcore: one model on data that its owners cannot share\n\n'
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): $(REQUIREMENTS)
	$(call say,Making the environment in $(VENV) (some minutes the first time))
	@test -n "$(PYTHON)" || { echo 'fedcore needs Python 3.11, and none is on the PATH. Name one: make PYTHON=/path/to/python3.11'; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo '$(TORCH), the largest part (a build that is already there is kept)'
	@$(PIP) install --quiet -c requirements/constraints.txt $(TORCH)
	@echo 'Everything else:'
	@$(PIP) install -r requirements/development.txt | sed -un 's/^Collecting \([^ ]*\).*/  \1/p'
	@touch $@

install: $(STAMP) ## Make the environment

demo: $(STAMP) ## The main job over real processes (ONCE=1 exits when done; GOOD=… BAD=… or LOG=… use your files)
	$(call say,Two owners and a reference host and a coordinator and a scientist)
	@$(BIN)/python -m examples.demo

run: $(STAMP) ## A coordinator on this machine: migrate; start broker and web and worker
	$(call say,Starting a coordinator)
	@$(BIN)/python manage.py start

test: $(STAMP) ## All tests
	$(call say,Tests)
	@$(BIN)/python -m pytest -n 2 --dist loadfile

nightly: $(STAMP) ## The long runs of tests: a thousand kills, ten thousand edits
	$(call say,Long runs)
	@$(BIN)/python -m pytest -m nightly

check: check-static test ## Everything that CI runs

check-static: check-format check-types check-imports check-django check-docs ## All checks but the tests

check-format: $(STAMP)
	$(call say,Format and lint (ruff))
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo 'Not formatted: see make format.'; exit 1; }
	@$(BIN)/ruff check $(SOURCES)

check-types: $(STAMP)
	$(call say,Types (mypy))
	@$(BIN)/mypy

check-imports: $(STAMP)
	$(call say,Import contracts (import-linter))
	@$(BIN)/lint-imports

check-django: $(STAMP)
	$(call say,Django: checks and migrations)
	@$(BIN)/python manage.py check
	@$(BIN)/python manage.py makemigrations --check --dry-run

check-docs: $(STAMP)
	$(call say,Documentation (strict))
	@$(BIN)/mkdocs build --strict --quiet

format: $(STAMP) ## Format the code and mend what the linter can mend
	$(call say,Formatting)
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: $(STAMP) ## Measure every speed and quality goal (ONLY=name for one)
	$(call say,Benchmarks)
	@$(BIN)/python -m benchmarks $(ONLY)

docs: $(STAMP) ## Write the reference pages from the code and build the documentation
	$(call say,Documentation)
	@$(BIN)/python -m docs.reference
	@$(BIN)/mkdocs build --strict

clean: ## Delete the environment and everything generated
	rm -rf $(VENV) site var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help install demo run test nightly check check-static check-format check-types check-imports check-django check-docs \
	format bench docs clean
