# make demo    train, score and use a small FastTCM spotter; result: output/demo/index.html   (DEVICE=cuda for a GPU)
# make test    the whole test-suite
# make check   ruff and mypy

PYTHON ?= python3
VENV ?= .venv
DEVICE ?= cpu
BIN := $(VENV)/bin

.PHONY: demo test check install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python scripts/demo.py --device $(DEVICE) --output output/demo

test: install
	$(BIN)/python -m pytest -n 2

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/typed && mkdir -p build/typed  # one tree, as in the wheel: mypy does not follow __path__
	cp -r fasttcm build/typed && cp -r projects/* build/typed/fasttcm/projects/
	cd build/typed && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml -p fasttcm
