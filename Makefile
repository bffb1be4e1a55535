# Everything lives in .venv; `make reproduce` and `make test` each set it up when needed.
SHELL := /bin/bash
PY     = .venv/bin/python
# the first of these that runs and is Python 3.11 or newer
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14 python; do \
            $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
ARGS ?=
# large tensors are kept when they are freed (see workflow/Snakefile)
export MALLOC_MMAP_THRESHOLD_ = 33554432
export MALLOC_TRIM_THRESHOLD_ = 4294967296
NBVAL = OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 --dist loadscope --nbval-sanitize-with tests/sanitize.cfg --nbval-cell-timeout 600
# one grid over notebook 11 a line of `make sweep`, the profile's own value among them: width of the depth gate, voxels, people, noise of
# the AGR, missing joints, protocol, number of training scenes
SWEEP = sigma_mm=100,200,400,600,1200 voxels=0.5,1,1.5,2 people=1,2,5,8 noise=clean,published,detector missing=none,arm,leg,head \
        protocol=honest,published scenes=0,50,200,800
TRAINING = $(shell grep -l '"trains"' notebooks/*.ipynb)  # their outputs are not compared: a few steps of training give no results

.PHONY: help install reproduce sweep test notebooks lab clean
help:            ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: .venv/.ready  ## create .venv from constraints.txt

.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed (set PYTHON=/path/to/python)"; exit 2; }
	@echo "Installing into .venv with $$($(PYTHON) --version) (a few minutes, about 2 GB with the CPU build of torch) ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[notebooks,batch,slurm,test]'
	@touch $@

reproduce: .venv/.ready  ## run every notebook (ARGS="--profile quick --data NAME=ROOT ...")
	@$(PY) -m vp reproduce $(ARGS)

sweep: .venv/.ready  ## notebook 11 over its parameters, beyond the paper's experiments (ARGS="--dry-run" first)
	@trap 'exit 130' INT TERM; failed=0; for grid in $(SWEEP); do echo "--grid $$grid"; $(PY) -m vp reproduce --only 11 --grid $$grid $(ARGS) || failed=1; done; exit $$failed

test: .venv/.ready  ## ruff, unit tests, all notebooks at profile smoke, nbval
	@.venv/bin/ruff check .
	@.venv/bin/pytest -n 2 --dist loadscope --no-loadscope-reorder tests $(ARGS)
	@$(PY) -m vp reproduce --profile smoke
	@$(NBVAL) --nbval $(filter-out $(TRAINING),$(wildcard notebooks/*.ipynb))
	@VP_PROFILE=smoke $(NBVAL) --nbval-lax $(TRAINING)

notebooks: .venv/.ready  ## re-execute the committed notebooks that are stale
	@$(PY) -m vp.lab.notebooks $(ARGS)

lab: .venv/.ready  ## open JupyterLab on the notebooks
	@.venv/bin/jupyter lab --notebook-dir=notebooks $(ARGS)

clean:           ## remove .venv and runs
	rm -rf .venv runs
