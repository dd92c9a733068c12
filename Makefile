# The commands of the course. They need Python 3.11-3.13 with its venv module, and nothing activated.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# More words for JupyterLab, such as LAB_ARGS=--no-browser
LAB_ARGS ?=
# The image's name; its tag is the version. More words for `docker build`, such as DOCKER_BUILD_ARGS="--network host"
IMAGE ?= kubeflow-workshop
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DOCKER_BUILD_ARGS ?=

.PHONY: lab tour test test-all test-weekly test-lock lint format bench notebooks figures image lock
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

# The same, and what CI runs beside it on every change.
test-all: test
	$(BIN)/python tests/run.py --level ci

# What takes too long for every change. The public workflow runs it on Mondays.
test-weekly: $(VENV)/installed
	$(BIN)/python tests/run.py --level weekly

# What another lock can break that nothing above would show: the other Pythons, and the ends of the ranges on Colab.
test-lock: $(VENV)/installed
	$(BIN)/python tests/run.py pythons colab

# What a reader of the code would complain about: style, layout, types. Seconds.
lint: $(VENV)/installed
	$(BIN)/python tests/run.py style format types

# Lay the code out, and sort its imports. Cells of notebooks are laid out by hand.
format: $(VENV)/installed
	$(BIN)/ruff check --quiet --select I --fix --extend-exclude '*.ipynb' .
	$(BIN)/ruff format .

# The figures that the README quotes, as ratios in one run.
bench: $(VENV)/installed
	$(BIN)/python tests/bench.py

# Run every notebook and keep its outputs; the only thing that writes them. NOTEBOOKS=tutorials/03-stock-prices.ipynb runs one.
NOTEBOOKS ?= $(wildcard tutorials/[0-9]*.ipynb tutorials/solutions/[0-9]*.ipynb)
notebooks: $(VENV)/installed
	$(BIN)/python tutorials/colab.py
	$(BIN)/python tutorials/minutes.py
	$(BIN)/python tests/offline.py $(BIN)/python tutorials/execute.py $(NOTEBOOKS)
	$(BIN)/workshop tour --output tutorials/figures

# Draw the diagrams again.
figures: $(VENV)/installed
	$(BIN)/python tutorials/figures/draw.py

# The image that Katib's trials, the pipeline's steps and KServe run, and the one for Kubeflow Notebooks.
image:
	@docker info > /dev/null 2>&1 || { echo "error: no Docker engine answers; .venv/bin/workshop doctor says what to type for one" >&2; exit 2; }
	docker build $(DOCKER_BUILD_ARGS) --file install/image/Dockerfile --target image --tag $(IMAGE):$(VERSION) .
	docker build $(DOCKER_BUILD_ARGS) --file install/image/Dockerfile --target notebook --tag $(IMAGE)-notebook:$(VERSION) .
	@docker image ls --filter 'reference=$(IMAGE)*:$(VERSION)' --format '{{.Repository}}:{{.Tag}}  {{.Size}}'

# Solve the lock again: one for every system and Python, with no word on where packages come from.
lock: $(VENV)/installed
	$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --all-extras --upgrade \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file requirements.txt pyproject.toml

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) install/lab.py --install $(VENV)
