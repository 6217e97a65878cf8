# Two commands need nothing but Python 3.11+ and this folder: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# constraints.txt holds torch at a version with a small CPU build. On a GPU machine: make CONSTRAINTS= demo
CONSTRAINTS ?= $(CURDIR)/constraints.txt

# Tests run in so many processes, each with one thread for a network's arithmetic: threads that wait for a core spin.
WORKERS ?= 2

.PHONY: demo test gate slow lint clean

demo: $(VENV)/.ready
	$(VENV)/bin/remotesam demo demo

test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

# Kills, clusters whose parts go away, a browser: short forms, for the gate.
gate: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -m gate

# Minutes each, for the night.
slow: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) SAM2_BUILD_CUDA=0 \
		$(VENV)/bin/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo dist build
