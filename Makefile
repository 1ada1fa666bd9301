# Every target sets itself up in .venv; PYTHON chooses the interpreter (3.11 to 3.14).
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# .venv is used only if it has pip, its Python is new enough, and whatever was last installed in it was not cut off.
UNFINISHED := .venv/.unfinished
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
VENV_PACKAGE = $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
ifneq ($(shell test -x $(BIN)/python -a ! -e $(UNFINISHED) && $(BIN)/python -c 'import pip; $(NEW_ENOUGH)' 2>&1 && echo usable),usable)
.PHONY: $(BIN)/python # else it is made anew, whatever is there
endif

.PHONY: help demo test check results fix book pdf colab benchmark clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	@$(PYTHON) -c '$(NEW_ENOUGH)' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: sudo apt install $(VENV_PACKAGE)" >&2; exit 1; }
	@rm -rf .venv && mkdir .venv && touch $(UNFINISHED)
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "No environment could be made, for the reason above. Mend that and run make again." >&2; exit 1; }
	@rm $(UNFINISHED)

# One stamp for each set of extras, renewed when pyproject.toml changes. When pip itself gives up (a status of 1 or 2) it
# leaves nothing half-made; when it is stopped, it may. The trap is for shells that go on after a Ctrl-C that pip heard.
.venv/.installed-%: $(BIN)/python pyproject.toml
	@echo "installing into .venv; PyTorch is most of it"
	@touch $(UNFINISHED); trap 'exit 130' INT TERM; \
	$(BIN)/python -m pip install --quiet --editable '.$(if $(filter base,$*),,[$(subst -,$(comma),$*)])' || { \
		test $$? -gt 2 || rm $(UNFINISHED); \
		echo "pip did not finish, for the reason above (no network?). Mend that and run make again." >&2; exit 1; }
	@rm $(UNFINISHED) && touch $@
comma := ,
# Two files at a time, of one thread each: most of what is tested is too small for two threads.
SIDE_BY_SIDE := -n 2 --dist loadfile

demo: .venv/.installed-base  ## train, guide and measure on real digits; writes a report (DATA=mnist for larger images)
	$(BIN)/rgd demo $(if $(DATA),--data "$(DATA)")

test: .venv/.installed-test  ## the daily one: lint, types, and all tests but those of make check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*
	$(BIN)/zizmor --quiet --offline .github/workflows
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not check"

check: .venv/.installed-test  ## the rest: every notebook, the site in a browser, the wheel, and whatever else takes long
	OMP_NUM_THREADS=1 RGD_PROFILE=ci $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m check \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 600 tests notebooks

fix: .venv/.installed-test  ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: .venv/.installed-results  ## every experiment and the recipes it needs, small, in build/results (within twenty minutes)
	$(BIN)/python -m tools.evidence --quick

book: .venv/.installed-book  ## the site, in build/book/_build/html
	$(BIN)/python -m tools.live --optional
	$(BIN)/jupyter-book build . -W -n --path-output build/book

pdf: .venv/.installed-pdf  ## the book for paper, in build (needs Chromium)
	$(BIN)/python -m tools.pdf

colab: .venv/.installed-test  ## every chapter in an environment like Colab's, set-up cell and all
	$(BIN)/python -m tools.colab

benchmark: .venv/.installed-peers  ## speed against peers on this machine
	$(BIN)/python -m benchmarks.speed

clean:  ## remove what the other targets made, except runs/
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
