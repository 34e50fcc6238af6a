# Every target sets up what it needs first; scripts/bootstrap.py leaves a complete .venv alone.
#   make setup EXTRA=cuda12      make test ARGS="tests/splits -k lomo"      make study OUT=runs/first
PYTHON ?= python3
EXTRA ?=
ARGS ?=
OUT ?=
# pytest workers; 1 runs in this process, which is what a debugger needs.
JOBS ?= auto

BIN := .venv/bin
BOOTSTRAP := $(PYTHON) scripts/bootstrap.py $(if $(EXTRA),--extra $(EXTRA))
CHECKED := src scripts tests bench

.DEFAULT_GOAL := help
.PHONY: help setup study test coverage docs signatures bench bench-long lint lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make .venv with .venv/bin/gpucv in it (EXTRA=cpu, cuda12 or cuda13)
	@$(BOOTSTRAP)

study: setup ## run the embedded study (OUT=folder)
	$(BIN)/gpucv run examples/h3-generalization.toml $(if $(OUT),--out "$(OUT)")

test: ## run the tests (ARGS="tests/splits -k lomo", JOBS=1)
	@$(BOOTSTRAP) --group test
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist worksteal) $(ARGS)

# Apart from the tests: tracing every line takes a good part of their time.
coverage: ARGS += --cov --cov-report=term:skip-covered
coverage: test ## run the tests, and list the lines that none of them meets

docs: ## build the documentation into build/docs (begin at index.html)
	@$(BOOTSTRAP) --group docs
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/site.py

signatures: .venv-gpu/complete ## check calls of the GPU libraries against the real ones; needs no GPU
	.venv-gpu/bin/python scripts/check_gpu_signatures.py

# Apart from .venv: gigabytes, and nothing else needs them without a GPU.
.venv-gpu/complete: requirements/cuda13.txt
	$(PYTHON) -m venv --clear .venv-gpu
	.venv-gpu/bin/python -m pip install --require-hashes --only-binary :all: -r $<
	touch $@

bench: ## run the suites and a quick look at the peers (ARGS="--sizes 1e4,1e6")
	@$(BOOTSTRAP) --group test --group bench
	$(BIN)/python -m pytest bench/suites --timeout 0 $(ARGS)
	$(BIN)/python bench/side_by_side.py --quick

# Hours, 8 million rows and more, and an idle machine. A broken promise does not hide the next.
bench-long: ## run all that gpucv promises about time and memory (bench/README.md)
	@$(BOOTSTRAP) --group test --group bench
	@status=0; for script in $(filter-out bench/conftest.py,$(wildcard bench/*.py)); do \
	  echo "$$script"; $(BIN)/python "$$script" || status=1; done; exit $$status

lint: ## check style, format and types
	@$(BOOTSTRAP) --group lint
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

lock: ## pin the newest versions that fit the lock (ARGS=--upgrade for newer ones; needs uv)
	$(PYTHON) scripts/lock.py $(ARGS)

clean: ## remove .venv, caches and build outputs; runs stay
	rm -rf .venv .venv-gpu .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* build dist
	find src scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
