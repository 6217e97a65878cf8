# Two commands need nothing but Python 3.11+ and this folder: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# constraints.txt holds torch at a version with a small CPU build. On a GPU machine: make CONSTRAINTS= demo
CONSTRAINTS ?= $(CURDIR)/constraints.txt

.PHONY: demo test lint clean

demo: $(VENV)/.ready
	$(VENV)/bin/remotesam demo demo

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest

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
