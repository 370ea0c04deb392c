# make demo    train, export and verify GoogLeNet on the bundled pictures (15 minutes on 2 cores)
# make test    the tests (make soak: the long ones too)
# make help    all tasks; where there is no make, `python tasks.py TASK` is the same
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
TASKS := setup demo test test-full soak test-latest test-versions test-backends test-web test-clients test-arm64 test-android android-predict docs test-wheel check lock clean

.PHONY: help $(TASKS)

$(TASKS):
	@$(PYTHON) tasks.py $@

help:
	@$(PYTHON) tasks.py --help
