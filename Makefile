# `make` lists the targets. Each does its own set-up, into .venv, and does it once.

PYTHON ?= python3
# For the commands that dvc starts. make itself may look past it, so recipes name $(BIN).
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
# A folder as mirror is named from where you are; an experiment runs somewhere else.
ifneq ($(MNIST_MIRROR),)
export MNIST_MIRROR := $(shell cd "$(MNIST_MIRROR)" 2>/dev/null && pwd || echo "$(MNIST_MIRROR)")
endif

.DEFAULT_GOAL := help
.PHONY: help demo repro experiment serve report remote test check lint format figures constraints

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/run  ## the whole pipeline on bundled digits, without a network, in a minute
	@$(BIN)/python -m ops.demo

repro: .venv/run  ## the pipeline on MNIST: dvc repro
	$(BIN)/dvc repro

experiment: .venv/run  ## the pipeline with other parameters: make experiment PRESET=fast
	@$(BIN)/python -m ops.experiment $(PRESET)

serve: .venv/serve  ## the page to draw on, and the API, on localhost: make serve [ARGS="--model URL"]
	@$(BIN)/python -m serving $(ARGS)

# Against the branch that changes go to; without metrics there, by the limits alone.
BASE ?= $(firstword $(foreach rev,main origin/main HEAD,$(shell \
  git cat-file -e $(rev):metrics/evaluation.json 2>/dev/null && echo $(rev))))

report: .venv/run  ## these results, or OF=..., against main's (BASE=...), as one HTML page: report.html
	@$(BIN)/python -m ops.report $(if $(BASE),--base '$(BASE)',--first) --html report.html \
	  $(if $(OF),--of '$(firstword $(OF))') \
	  $(foreach rev,$(wordlist 2,$(words $(OF)),$(OF)),--beside '$(rev)')
	@echo "report.html: $(if $(BASE),against $(BASE),there is no base)"
# On a machine without a screen, a text browser would take over the terminal.
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
	  $(BIN)/python -m webbrowser "file://$(CURDIR)/report.html" >/dev/null 2>&1 || true; fi

# An endpoint is this machine's affair, and so are credentials: they stay out of Git.
remote: .venv/run  ## where data and models are kept: make remote URL=s3://bucket/path [ENDPOINT=...]
	@if [ -z "$(URL)" ]; then \
	  echo "Where? make remote URL=s3://bucket/path [ENDPOINT=https://host], or URL=/a/folder" >&2; \
	  exit 2; fi
	@$(BIN)/dvc remote modify --quiet --local --unset storage endpointurl 2>/dev/null || true
	@$(BIN)/dvc remote add --quiet --force --default storage "$(URL)"
	@$(BIN)/dvc remote modify --quiet storage verify true
	@if [ -n "$(ENDPOINT)" ]; then \
	  $(BIN)/dvc remote modify --quiet --local storage endpointurl "$(ENDPOINT)"; fi
	@echo "The remote is $(URL). Commit .dvc/config; then dvc push and dvc pull"

# A worker more than there are cores: some tests wait for a while.
WORKERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: .venv/dev  ## every test
	$(BIN)/pytest -n $(WORKERS)

check: .venv/dev lint  ## the quick round while working: lint, types, unit tests
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

lint: .venv/dev  ## style, types, and the workflow files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: .venv/dev  ## put the code into the house's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: .venv/run  ## write the benchmarks' results into the README and docs/
	$(BIN)/python -m benchmarks.figures

constraints:  ## pin anew what the direct dependencies pull in (needs uv)
	cat requirements-compute.txt requirements.txt requirements-scale.txt requirements-serve.txt \
	  requirements-dev.txt | grep -v '^-[cr]' \
	  | uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header - \
	    --output-file constraints.partial
	sed -nE 's/^([a-z0-9-]+)(\[.*\])?==.*/^\1==/p' requirements*.txt \
	  | { cat; echo '^nvidia-'; echo '^cuda-'; echo '^triton='; } \
	  | grep -v -f - constraints.partial \
	  | sed '1i # What the direct dependencies pull in; make constraints. PyTorch pins its CUDA packages.' \
	  > constraints.txt.partial
	mv constraints.txt.partial constraints.txt
	rm constraints.partial

# PyTorch's build: auto (the CPU build where there is no NVIDIA driver), cpu, cuda or pypi.
INSTALLED_TORCH := $(or $(shell cat .venv/torch 2>/dev/null),auto)
TORCH ?= $(INSTALLED_TORCH)
ifneq ($(TORCH),$(INSTALLED_TORCH))
.venv/run .venv/scale .venv/dev: other-torch
endif
.PHONY: other-torch

.venv/run: requirements.txt requirements-compute.txt constraints.txt
	$(call install,requirements.txt)

.venv/serve: requirements-serve.txt requirements-compute.txt constraints.txt
	$(call install,requirements-serve.txt)

.venv/scale: requirements-scale.txt requirements-compute.txt constraints.txt
	$(call install,requirements-scale.txt)

.venv/dev: requirements-dev.txt requirements-scale.txt requirements-serve.txt requirements.txt \
		requirements-compute.txt constraints.txt
	$(call install,requirements-dev.txt)
	@touch .venv/run .venv/serve .venv/scale

define install
@$(PYTHON) -m ops.install $(1) --torch $(TORCH)
@touch $@
endef
