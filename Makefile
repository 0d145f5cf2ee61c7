# Everything a person or CI runs. `make help` lists it.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCAL := $(PYTHON) -m local
export PYTHONPATH := operator:runtime:.
# setup compiles no module, so each must be written down when it is first imported, whatever the environment says
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo prepare build-cluster build-servers build-images test clean setup check generate lock images up down test-unit test-core test-integration test-faults faults test-e2e test-e2e-life test-e2e-apart test-gguf test-onnx test-vllm bench

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

demo: ## from nothing to a served model: cluster, operator, training, quantization, one answer over the URL
	@$(PYTHON) -m examples.quickstart.demo

prepare: ## everything that tests need and that is installed or built once, side by side: some of it loads, some computes
	@$(MAKE) --no-print-directory -j4 setup build-cluster build-servers build-images

build-cluster:
	@$(LOCAL) build

build-servers build-images:
	@$(LOCAL) $@

test: check test-unit test-core test-e2e ## every check and all four tiers of tests

clean: ## remove the local cluster and everything that was made in it
	@$(LOCAL) down --purge
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

setup: $(VENV)/ready ## the development environment in .venv, from the lock file

$(VENV)/ready: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: set PYTHON=")'
	@$(PYTHON) -m venv $(VENV) || { echo "$(VENV) cannot be made, see above; where venv or ensurepip is missing, install python3-venv" >&2; exit 1; }
	@echo "installing the locked dependencies into $(VENV) (several GB, a few minutes)"
	@$(BIN)/python -m pip install --quiet --no-compile --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

check: setup ## format, lint, strict types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy local examples benchmarks
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m deepseek_operator.api.generate --check

generate: setup ## CRDs, RBAC, chart schema and reference pages from the one source
	$(BIN)/python -m deepseek_operator.api.generate

lock: ## rewrite the lock files from pyproject.toml (needs uv)
	uv pip compile -q pyproject.toml --generate-hashes --universal --no-header -p 3.11 --extra operator -o operator/requirements.lock
	uv pip compile -q pyproject.toml --generate-hashes --universal --no-header -p 3.11 --extra gateway -o runtime/requirements-gateway.lock
	uv pip compile -q pyproject.toml --generate-hashes --universal --no-header -p 3.11 --extra compute -o runtime/requirements-compute.lock
	uv pip compile -q pyproject.toml --generate-hashes --universal --no-header -p 3.11 --extra onnx --no-deps --no-emit-package pydantic -o runtime/requirements-onnx.lock
	uv pip compile -q pyproject.toml --generate-hashes --universal --no-header -p 3.11 --extra dev -o requirements-dev.lock

up: ## the local cluster with the operator in it
	@$(PYTHON) -m examples.quickstart.demo --only-install

down: ## stop the local cluster; `make up` goes on where it was
	@$(LOCAL) down

images: ## build the images and load them into the local cluster
	@$(LOCAL) build-images
	@$(LOCAL) load-image operator gateway runtime

test-unit: setup ## decisions, builders, engines: seconds
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/unit

test-core: setup # side by side: integration tests wait for half of their time
	@$(MAKE) --no-print-directory -j2 test-integration test-faults

test-integration: setup ## against the real kube-apiserver and etcd, a real S3 server and a real registry
	@$(LOCAL) build
	@$(LOCAL) build-servers
	$(BIN)/pytest -n 2 --dist loadscope tests/integration

test-faults: setup ## crashes, lost answers and stale views, seeded
	$(BIN)/pytest -n 2 tests/faults

faults: setup ## the long form: every point of every journey, and more seeds; SEED=7 RUNS=20, a failing test's id names its seed
	$(BIN)/pytest tests/faults --faults-seed=$(or $(SEED),0) --faults-runs=$(or $(RUNS),20) --timeout=3600

test-e2e: ## the journeys of the README on the local cluster with real pods, and beside them the local cluster itself
	@$(MAKE) --no-print-directory -j2 test-e2e-life test-e2e-apart

test-e2e-life: setup
	$(BIN)/pytest --durations=10 --ignore=tests/e2e/namespaces --ignore=tests/e2e/clusters tests/e2e

test-e2e-apart: setup
	$(BIN)/pytest --durations=10 tests/e2e/namespaces
	$(BIN)/pytest --durations=10 tests/e2e/clusters

GGUF := build/gguf

test-gguf: setup $(GGUF)/ready ## exported files in llama.cpp itself, whose binding is built first: ten minutes, with cmake and a compiler
	LLAMA_CPP_PYTHON=$(GGUF)/bin/python $(BIN)/pytest tests/gguf

$(GGUF)/ready: tests/gguf/requirements.txt
	$(PYTHON) -m venv $(GGUF)
	CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAMA_BUILD_TOOLS=OFF -DMTMD_BUILD=OFF" $(GGUF)/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

VLLM := build/vllm

test-vllm: setup $(VLLM)/ready ## what vLLM's own code makes of quantized copies, without a GPU: installs 6 GB
	VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/pytest tests/vllm

$(VLLM)/ready: tests/vllm/requirements.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

ONNX := build/onnx

test-onnx: setup $(ONNX)/ready ## exported files in onnxruntime and Optimum, which are installed first: a minute, 180 MB
	DEEPSEEK_ONNX=$(ONNX)/packages $(BIN)/pytest tests/onnx

$(ONNX)/ready: runtime/requirements-onnx.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --only-binary=:all: --upgrade --target $(ONNX)/packages -r $<
	@touch $@

bench: setup $(if $(filter onnx,$(or $(ONLY),onnx)),$(ONNX)/ready) ## figures of the operator's core and of the runtime; ONLY=name for one scenario, SCALE=0.1 for a smaller cluster
	DEEPSEEK_ONNX=$(ONNX)/packages $(BIN)/python -m benchmarks $(ONLY) $(if $(SCALE),--scale $(SCALE))
