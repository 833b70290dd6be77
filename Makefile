# make search [SPEC=digits] [ARGS="--trials 20"]   the main job
# make test [ARGS="tests/export"]                  the whole test suite
# PIP_ARGS passes on to pip, such as a CPU-only torch: PIP_ARGS="--extra-index-url INDEX"

PYTHON ?= python3
SPEC ?= digits
ARGS ?=
TEST_WORKERS ?= 2
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.PHONY: search test lint types format clean-env

search: $(VENV)/.installed
	$(BIN)/automl search $(SPEC) $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean-env:
	rm -rf $(VENV)

# The stamps are older than what they install from only where that has changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[test]'
	touch $(VENV)/.installed $@

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
