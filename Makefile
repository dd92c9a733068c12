# The commands of the course. They need Python 3.11-3.13 with its venv module, and nothing activated.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# More words for JupyterLab, such as LAB_ARGS=--no-browser
LAB_ARGS ?=

.PHONY: lab tour test test-all bench notebooks figures lock
.DEFAULT_GOAL := lab

# The course, opened in JupyterLab on the first notebook.
lab: $(VENV)/installed
	$(BIN)/jupyter lab $(LAB_ARGS) tutorials/00-start-here.ipynb

# The whole chain without opening a notebook.
tour: $(VENV)/installed
	$(BIN)/workshop tour

# What a learner and a contributor run.
test: $(VENV)/installed
	$(BIN)/python tests/run.py

# The same, and the heavy areas.
test-all: test
	$(BIN)/python tests/run.py --heavy

# The figures that the README quotes, as ratios in one run.
bench: $(VENV)/installed
	$(BIN)/python tests/bench.py

# Run every notebook and keep its outputs; the only thing that writes them. NOTEBOOKS=tutorials/03-stock-prices.ipynb runs one.
NOTEBOOKS ?= $(wildcard tutorials/[0-9]*.ipynb)
notebooks: $(VENV)/installed
	$(BIN)/python tests/offline.py $(BIN)/python tutorials/execute.py $(NOTEBOOKS)
	$(BIN)/workshop tour --output tutorials/figures

# Draw the diagrams again.
figures: $(VENV)/installed
	$(BIN)/python tutorials/figures/draw.py

# Solve the lock again: one for every system and Python, with no word on where packages come from.
lock: $(VENV)/installed
	$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --all-extras --upgrade \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file requirements.txt pyproject.toml

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) install/lab.py --install $(VENV)
