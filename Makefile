# Two commands: `make demo` shows what EdgeKit does, `make test` checks that it does.
# Both start from nothing: they create .venv and install what they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JOBS ?= 2

.PHONY: demo test lint types tests package install clean

demo: install
	$(BIN)/python examples/digits/demo.py out/digits

test: lint types tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

tests: install
	$(BIN)/pytest -n $(JOBS) --dist loadfile

# The wheel, installed without extras in an environment of its own, must show every --help.
package: install
	rm -rf build/wheel build/bare
	$(BIN)/pip wheel -q --no-deps -w build/wheel .
	$(PYTHON) -m venv build/bare
	build/bare/bin/pip install -q --disable-pip-version-check -c constraints.txt build/wheel/edgekit-*.whl
	$(BIN)/python .ci/check_wheel.py build/wheel build/bare/bin/edgekit

install: $(INSTALLED)

# uv is faster, and takes PyTorch's CPU build by itself; pip is always there.
$(INSTALLED): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
		uv venv -q --allow-existing --seed --python $(PYTHON) $(VENV) && \
		uv pip install -q --python $(BIN)/python --torch-backend cpu -c constraints.txt -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) out build
