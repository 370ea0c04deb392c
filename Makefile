# make demo    train, export and verify GoogLeNet on the bundled pictures (15 minutes on 2 cores)
# make test    the tests (make soak: the long ones too)
# make setup   the environment alone: .venv, exactly as requirements.lock has it
# make test-web   the page, in Chromium and Node.js (Debian's Chromium is installed if there is none)
# make test-backends   the networks on JAX and torch
# make test-clients   exported files in MediaPipe and in LiteRT.js, which needs Node.js and npm
# make test-arm64   exported files on an emulated ARM processor
# make test-latest   the tests on the newest TensorFlow, where there is no tflite-support
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-web test-clients test-arm64 test-latest test-backends soak check lock clean

setup: $(VENV)/.installed

demo: setup
	$(BIN)/keras-inception demo --output demo

# A file of tests is one worker's, for the networks and exports that its tests share; the longest are not the last.
PYTEST := python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

HERE := not backends and not web and not clients and not arm64

test: setup
	$(BIN)/$(PYTEST)

soak: setup
	$(BIN)/$(PYTEST) -m "$(HERE)" --hypothesis-profile random

# Not from the lock file: whatever is newest and fits. LATEST=python3.12 takes another Python.
LATEST ?= $(PYTHON)
test-latest:
	$(LATEST) -m venv .venv-latest
	.venv-latest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --editable ".[dev]" "tensorflow==2.21.*"
	.venv-latest/bin/$(PYTEST) -m "$(HERE) and not slow and not tflite_support and not locked"

# The networks on JAX and torch under Keras, beside TensorFlow.
test-backends:
	$(PYTHON) -m venv .venv-backends
	.venv-backends/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,backends]"
	.venv-backends/bin/python -m pytest -m backends

# The page's packages are taken by npm.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
test-web: setup
	@command -v chromium > /dev/null || { $(ROOT) apt-get update --quiet && $(ROOT) apt-get install --yes --quiet chromium; } \
	    || { echo "Chromium is needed, and apt-get could not install it: put chromium on the PATH" >&2; exit 1; }
	$(BIN)/python -m pytest -m web tests/web

# MediaPipe lives in an environment of its own, LiteRT.js in npm's packages of the page.
test-clients: setup
	$(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip install --quiet --disable-pip-version-check \
	    $$($(BIN)/python -c "from keras_inception.mobile.clients import mediapipe; print(mediapipe.PACKAGE)")
	KERAS_INCEPTION_MEDIAPIPE=.venv-mediapipe \
	    KERAS_INCEPTION_LITERT_WEB=$$($(BIN)/python -c "from keras_inception.mobile import npm; print(npm.packages())") \
	    $(BIN)/python -m pytest -m clients

# Needs Linux on x86-64 with apt-get, no root; the first time the network too, and 250 MB in ~/.cache.
test-arm64: setup
	$(BIN)/python -m pytest -m arm64

# Lint, format and types.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("requirements.lock is for Python 3.11, and $(PYTHON) is " + sys.version.split()[0] + ": call make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv. Written anew after a change of the dependencies in pyproject.toml.
lock:
	uv pip compile pyproject.toml --extra mobile --extra dev --extra task-library --universal --python-version 3.11 \
	    --generate-hashes --no-header --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) .venv-latest .venv-backends .venv-mediapipe build dist *.egg-info
