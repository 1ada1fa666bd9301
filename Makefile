# Every target sets itself up in .venv; PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test results fix book pdf colab benchmark clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

# One stamp for each set of extras, renewed when pyproject.toml changes.
.venv/.installed-%: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.$(if $(filter base,$*),,[$(subst -,$(comma),$*)])'
	@touch $@
comma := ,
# Two files at a time, of one thread each: most of what is tested is too small for two threads.
SIDE_BY_SIDE := -n 2 --dist loadfile

demo: .venv/.installed-base  ## train, guide and measure on real digits; writes a report (DATA=mnist for larger images)
	$(BIN)/rgd demo $(if $(DATA),--data "$(DATA)")

test: .venv/.installed-test  ## lint, types, the whole suite, and every notebook
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE)
	OMP_NUM_THREADS=1 RGD_PROFILE=ci $(BIN)/python -m pytest $(SIDE_BY_SIDE) \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks

fix: .venv/.installed-test  ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: .venv/.installed-results  ## every experiment and the recipes it needs, small, in build/results (within twenty minutes)
	$(BIN)/python -m tools.evidence --quick

book: .venv/.installed-book  ## the site, in build/book/_build/html
	$(BIN)/jupyter-book build . -W -n --path-output build/book

pdf: .venv/.installed-pdf  ## the book for paper, in build (needs Chromium)
	$(BIN)/python -m tools.pdf

colab: .venv/.installed-test  ## every chapter in an environment like Colab's, set-up cell and all
	$(BIN)/python -m tools.colab

benchmark: .venv/.installed-peers  ## speed against peers on this machine
	$(BIN)/python -m benchmarks.speed

clean:  ## remove what the other targets made, except runs/
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
