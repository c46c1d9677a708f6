# `make` lists the targets. Each sets up .venv with what it needs, once.

PYTHON ?= python3
# For the commands that dvc starts. make itself may ignore this PATH, so recipes name $(BIN).
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
# A mirror that is a folder becomes an absolute path, since an experiment runs in another folder.
ifneq ($(MNIST_MIRROR),)
export MNIST_MIRROR := $(shell cd "$(MNIST_MIRROR)" 2>/dev/null && pwd || echo "$(MNIST_MIRROR)")
endif

.DEFAULT_GOAL := help
.PHONY: help demo repro experiment ui site serve report remote rehearsal test check lint format figures constraints

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/run  ## run the whole pipeline on bundled digits, without a network, in a minute
	@$(BIN)/python -m ops.demo

repro: .venv/run  ## run the pipeline on MNIST: dvc repro
	$(BIN)/dvc repro

experiment: .venv/run  ## run the pipeline with a preset, or several seeds: make experiment PRESET=fast SEEDS=3
	@$(BIN)/python -m ops.experiment $(PRESET) $(if $(SEEDS),--seeds $(SEEDS))

ui: .venv/run .venv/serve  ## open the pages of the pipeline, on http://127.0.0.1:3000: make ui [ARGS=--read-only]
	@$(BIN)/python -m ops.ui $(ARGS)

site: .venv/run  ## write the same pages to a folder: make site [SITE=site]
	@$(BIN)/python -m ops.ui --site '$(SITE)'

serve: .venv/serve  ## serve the drawing page and the API on localhost: make serve [ARGS="--model URL"]
	@$(BIN)/python -m serving $(ARGS)

SITE ?= site

# The base is the branch that changes go to: main, or the default branch of a Git server. If it has no
# metrics, only the limits are checked. The project may be a subfolder of its repository: hence ./
SERVERS_BRANCH = $(shell git for-each-ref --format='%(symref:lstrip=2)' 'refs/remotes/*/HEAD')
BASE ?= $(firstword $(foreach rev,main $(SERVERS_BRANCH) HEAD,$(shell \
  git cat-file -e $(rev):./metrics/evaluation.json 2>/dev/null && echo $(rev))))

report: .venv/run  ## write report.html: these results (or OF=...) compared with main (or BASE=...)
	@$(BIN)/python -m ops.report $(if $(BASE),--base '$(BASE)',--first) --html report.html \
	  $(if $(OF),--of '$(firstword $(OF))') \
	  $(foreach rev,$(wordlist 2,$(words $(OF)),$(OF)),--beside '$(rev)')
	@echo "report.html: $(if $(BASE),compared with $(BASE),there is no base)"
# Without a screen, a text browser would take over the terminal.
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
	  $(BIN)/python -m webbrowser "file://$(CURDIR)/report.html" >/dev/null 2>&1 || true; fi

remote: .venv/run  ## set where data and models are kept: make remote URL=s3://bucket/path [ENDPOINT=...]
	@if [ -z "$$URL" ]; then \
	  echo "error: URL is missing: make remote URL=s3://bucket/path [ENDPOINT=https://host], or URL=/a/folder" >&2; \
	  exit 2; fi
	@$(BIN)/python -m ops.remote --endpoint="$$ENDPOINT" --sse="$$SSE" --kms-key="$$KMS_KEY" -- "$$URL"

rehearsal: .venv/dev  ## rehearse production on this machine, in two minutes, without an account
	@$(BIN)/python -m ops.rehearsal

# Two workers more than cores, since some tests wait.
WORKERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))

test: .venv/dev  ## run every test
	$(BIN)/pytest -n $(WORKERS)

check: .venv/dev lint  ## run the quick checks: style, types, unit tests
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

lint: .venv/dev  ## check style, types and the workflow files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: .venv/dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: .venv/run  ## write the benchmarks' results into the README and docs/
	$(BIN)/python -m benchmarks.figures

constraints:  ## pin the indirect dependencies again (requires uv)
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

# PyTorch's build: auto (the CPU build if there is no NVIDIA driver), cpu, cuda or pypi.
INSTALLED_TORCH := $(or $(shell cat .venv/torch 2>/dev/null),auto)
TORCH ?= $(INSTALLED_TORCH)
ifneq ($(TORCH),$(INSTALLED_TORCH))
.venv/run .venv/scale .venv/dev: other-torch
endif
.PHONY: other-torch

.venv/run: requirements.txt requirements-compute.txt constraints.txt
	$(call install,requirements.txt)
	@$(BIN)/python -m ops.tools.offline_plots

.venv/serve: requirements-serve.txt requirements-compute.txt constraints.txt
	$(call install,requirements-serve.txt)

.venv/scale: requirements-scale.txt requirements-compute.txt constraints.txt
	$(call install,requirements-scale.txt)

.venv/dev: requirements-dev.txt requirements-scale.txt requirements-serve.txt requirements.txt \
		requirements-compute.txt constraints.txt
	$(call install,requirements-dev.txt)
	@$(BIN)/python -m ops.tools.offline_plots
	@touch .venv/run .venv/serve .venv/scale

define install
@$(PYTHON) -m ops.install $(1) --torch $(TORCH)
@touch $@
endef
