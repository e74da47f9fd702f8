# Everything a fresh machine needs: Python >= 3.11, make, the package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS := $(shell getconf _NPROCESSORS_ONLN)

.DEFAULT_GOAL := help
.PHONY: help demo demo-federation test lint clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,pretrained]'
	@touch $@

demo: $(READY)  ## install, then train over four simulated hospitals and write runs/demo/report.html
	@if [ -f runs/demo/report.html ]; then echo "runs/demo/report.html is there already; rm -r runs/demo and make demo runs it anew"; \
	elif [ -f runs/demo/config.yaml ]; then $(BIN)/xai-sim resume runs/demo; \
	else $(BIN)/xai-sim run demo --out runs/demo; fi

demo-federation: $(READY)  ## install, then a coordinator and two hospitals over TLS on this machine, every command shown
	BIN=$(BIN) deploy/demo-federation.sh

test: $(READY)  ## install, then run the test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove the environment, caches and the demos' runs
	rm -rf $(VENV) runs/demo runs/demo-federation build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
