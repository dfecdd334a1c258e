# The course's commands; `make help` lists them. They need Python and make, nothing else.

PYTHON ?= python3
SCALE ?= lesson
# Threads that wait must not spin: on a machine with other work, spinning makes torch 20 times slower.
export OMP_WAIT_POLICY ?= PASSIVE
PARTS = lint unit notebooks book browser
python = .venv/bin/python
pip = $(python) -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install lab run book test lint unit notebooks browser format links clean

help:  ## list these commands
	@awk -F':[^#]*## ' '/^[a-z]+:[^#]*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Set PYTHON to choose the interpreter for .venv: make install PYTHON=python3.12"

# The environment. A stamp says what is in it; it is renewed when the lists of requirements change. ----------------------

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is not Python 3.11, 3.12 or 3.13: name one that is, for example make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: install its venv module (on Debian and Ubuntu the package python3-venv)."; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.book: .venv/.made requirements/book.txt constraints.txt
	@echo "Installing what the book needs ..."
	@$(pip) -r requirements/book.txt
	@touch $@

.venv/.all: .venv/.made pyproject.toml requirements/book.txt requirements/lab.txt requirements/test.txt constraints.txt
	@echo "Installing everything; the first time PyTorch alone is a download of a few GB ..."
	@$(pip) --editable '.[book,lab,test]'
	@touch .venv/.book $@

# For readers and learners ---------------------------------------------------------------------------------------------

install: .venv/.all  ## make the environment .venv with everything

lab: .venv/.all  ## open the notebooks in JupyterLab
	@$(python) -m jupyterlab notebooks

book: .venv/.book  ## build the book from the committed notebooks into _build/html (needs no torch)
	@rm -rf _build/html
	@.venv/bin/jupyter-book build . --all -W -n --keep-going --quiet >/dev/null  # warnings come on stderr
	@echo "The book is built. Open file://$(CURDIR)/_build/html/index.html"

# For authors ----------------------------------------------------------------------------------------------------------

run: .venv/.all  ## execute a notebook in place and stamp it: make run NB=notebooks/... [SCALE=smoke|lesson|zoo]
	@test -n "$(NB)" || { echo "Say which notebook: make run NB=notebooks/1_optimization/gatys.ipynb"; exit 2; }
	@$(python) -m stlib.chapters run $(NB) --scale $(SCALE)

format: .venv/.all  ## bring the Python files into their one format
	@$(python) -m ruff check --quiet --fix . ; $(python) -m ruff format .

links: .venv/.book  ## ask every address in the book whether it is still there (needs the network)
	@.venv/bin/jupyter-book build . --builder linkcheck

clean:  ## remove what was built (delete .venv yourself to start from nothing)
	@rm -rf _build build *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# Tests. Each part can be run alone; `make test` runs all of them, also after one has failed, and times each. ------------

test: .venv/.all  ## run all tests (those of the book want a Chromium), and print the time of each part
	@table=; failed=; begun=$$(date +%s); \
	for part in $(PARTS); do \
	  echo; echo "=== make $$part"; start=$$(date +%s); \
	  if $(MAKE) --no-print-directory $$part; then said=passed; else said=FAILED; failed="$$failed $$part"; fi; \
	  table="$$table$$(printf '%-10s %5d s  %s' $$part $$(($$(date +%s) - start)) $$said)\n"; \
	done; \
	printf "\n$$table%-10s %5d s\n" total $$(($$(date +%s) - begun)); \
	test -z "$$failed" || { echo "These parts failed:$$failed"; exit 1; }

lint: .venv/.all  ## ruff: mistakes and format
	@$(python) -m ruff check . && $(python) -m ruff format --check .

unit: .venv/.all  ## unit, parity, property and chapter tests
	@$(python) -m pytest tests --ignore=tests/test_book.py

notebooks: .venv/.all  ## run every notebook at scale smoke and compare the outputs that are marked for it
	@STLIB_SCALE=smoke STLIB_OFFLINE=1 STLIB_CACHE="$(CURDIR)/_build/cache" $(python) -m pytest notebooks \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=300

browser: .venv/.all  ## look at the built book in a headless Chromium (after make book)
	@STLIB_BOOK_HTML=_build/html $(python) -m pytest tests/test_book.py
