# The commands that a person types. Everything lives in .venv, which `make clean` takes away again.
#
#   make demo                 a Distributor and an Origin on this machine, and the addresses to watch it at
#   make demo SOURCE=clip.mp4 the same with a file, a URL or a device
#   make test                 all that has to hold before a change goes in
#   make lint | docs | bench  parts of it;  make bench BENCH=parser for one benchmark
#   make lab                  what architectures cost, in milliseconds: a short form of each scenario, five minutes
#   make torture SEED=1       200 faults from kill -9 to full disks, and no byte lost; FAULTS=50 for fewer

PYTHON ?= python3
VENV ?= .venv
SOURCE ?= test
BENCH ?= *
SEED ?= 1
FAULTS ?= 200

BIN := $(VENV)/bin

# A compat editable install puts this directory itself on the path: twistd then finds twisted/plugins here, and trial
# finds tests. (Another editable install has an import hook instead of a directory, in which twistd finds no plugins.)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

.DELETE_ON_ERROR:
.PHONY: help demo test lint docs bench lab torture clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Stamps, and not the files themselves: .venv/bin/python is a link to the system's own.
$(VENV)/.made: .ci/bootstrap
	@bash .ci/bootstrap "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.demo: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing SDP with its codecs into $(VENV)"
	@$(INSTALL) --editable '.[media]'
	@touch $@

$(VENV)/.test: $(VENV)/.made setup.cfg pyproject.toml
	@echo "installing SDP and what its tests need into $(VENV)"
	@$(INSTALL) --editable '.[media,player,lab,test]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/sdp demo "$(SOURCE)"

# pytest comes last, so that its closing line is the last one to be seen. Much of it waits for processes: two at a time.
test: $(VENV)/.test
	@bash .ci/tools
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory docs
	@echo "trial" && $(BIN)/trial --temp-directory build/trial --reporter=text tests
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

lint: $(VENV)/.test
	@echo "ruff" && $(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@echo "mypy" && $(BIN)/mypy --no-error-summary
	@echo "layers" && $(BIN)/python -m pytest --quiet --no-header --no-summary tests/test_layering.py

# Always from nothing (-E): a page that did not change would not be read, and its warnings not seen, a second time.
docs: $(VENV)/.test
	@echo "docs" && $(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@$(BIN)/towncrier build --draft --version next > docs/_build/news.txt 2>&1 || { cat docs/_build/news.txt; exit 1; }

bench: $(VENV)/.test
	@for each in bench/$(BENCH).py; do echo "== $$each" && $(BIN)/python $$each || exit 1; done

# A short form of every scenario, and its report in build/lab; what cannot be run here is told, and left out.
lab: $(VENV)/.test
	@for each in sdp/lab/scenarios/*.toml; do name=$$(basename $$each .toml) && echo "== $$name" && \
	    { $(BIN)/sdp lab run --short --leave-out --out build/lab/$$name $$name || test $$? -eq 2; } && \
	    { test -z "$$(ls build/lab/$$name/rows 2> /dev/null)" || $(BIN)/sdp lab report build/lab/$$name; } || exit 1; done

# SOURCE=clip.mp4 streams that file beside the test pattern, in place of a short one that is made.
torture: $(VENV)/.test
	@$(BIN)/python -m tests.system.torture --seed "$(SEED)" --faults "$(FAULTS)" \
	    $(if $(filter-out test,$(SOURCE)),--source "$(SOURCE)")

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage \
	    _trial_temp* twistd.log twistd.pid
	find sdp tests twisted bench docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
