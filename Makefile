# Recipes for people. `make` lists them; each makes its environment first and says what it does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REQUIREMENTS := requirements.txt $(wildcard requirements/*.txt) pyproject.toml
SOURCES := fedcore plugins project benchmarks examples tests manage.py docs
export ONCE GOOD BAD LOG

define say
@printf '\n\033[1m== %s\033[0m\n' "$(1)"
endef

help: ## List the recipes
	@printf 'fedcore: one model on data that its owners cannot share\n\n'
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): $(REQUIREMENTS)
	$(call say,Making the environment in $(VENV) (some minutes the first time))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@printf 'torch 2.13.0 …\n' && $(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@printf 'everything else …\n' && $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/development.txt
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
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: check-static test ## Everything that CI runs

check-static: $(STAMP)
	$(call say,Format and lint (ruff))
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	$(call say,Types (mypy))
	@$(BIN)/mypy
	$(call say,Import contracts (import-linter))
	@$(BIN)/lint-imports
	$(call say,Django: checks and migrations)
	@$(BIN)/python manage.py check
	@$(BIN)/python manage.py makemigrations --check --dry-run
	$(call say,Documentation (strict))
	@$(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## Measure every speed and quality goal (ONLY=name for one)
	$(call say,Benchmarks)
	@$(BIN)/python -m benchmarks $(ONLY)

docs: $(STAMP) ## Build the documentation and write its reference pages
	$(call say,Documentation)
	@$(BIN)/python -m docs.reference
	@$(BIN)/mkdocs build --strict

clean: ## Delete the environment and everything generated
	rm -rf $(VENV) site var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help install demo run test check check-static bench docs clean
