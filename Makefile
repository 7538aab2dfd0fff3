# `make` lists the targets. Everything runs in .venv, which is made where it is missing.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# The studies depend on folders of src/, outside their own DVC repository, where no .dvcignore reaches: compiled files
# would make every stage look changed, so theirs lie elsewhere.
STUDIES := realism forecast five_fixes greyscale diagnosis sharp teacher retrieval
$(STUDIES): export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/python
$(STUDIES): export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba

.DEFAULT_GOAL := help
.PHONY: $(STUDIES) help run test lint experiments serve torture fuzz audit photos uncompiled lock clean \
  bench bench-longer bench-growth bench-quick bench-check

help: ## list the targets
	@awk -F':.*## ' '/^[a-z_-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with 'make run PYTHON=python3.12'."; exit 1; }
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## prepare, train v0, v1 and the current model, evaluate, render, compare
	dvc repro

# The files with the fewest tests, those of the pipeline, take longest: by default they would come last, one worker idle.
test: $(READY) ## run the tests
	OMP_NUM_THREADS=1 PYTHONPATH=src pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

experiments: $(READY) ## the leaderboard of all DVC experiments, as a table, a CSV and a page
	ear-teacher experiments --out reports/experiments.csv --page reports/experiments.html

serve: DIRECTIONS = $(wildcard reports/directions.safetensors)
serve: LANDMARKER = $(wildcard studies/teacher/landmarker)
serve: $(READY) ## the playground: drop a picture, see it through every model
	ear-teacher serve $(DIRECTIONS:%=--directions %) $(LANDMARKER:%=--landmarker %)

lint: $(READY) ## ruff, mypy and the one-way imports
	ruff check .
	ruff format --check .
	mypy
	PYTHONPATH=src lint-imports

realism forecast five_fixes sharp: photos uncompiled $(READY)
	ln -sfn "$(realpath $(PHOTOS))" studies/photos/raw
	dvc repro weights@perceptual weights@v0
	cd studies && dvc repro $@/dvc.yaml

realism: ## synthetic ears against photos of yours: make realism PHOTOS=<EarVN1.0 folder>
forecast: ## predicted against measured KL and PSNR: make forecast PHOTOS=<EarVN1.0 folder>
five_fixes: ## the author's claims one by one: make five_fixes PHOTOS=<EarVN1.0 folder>
sharp: ## what makes the model sharp, one ingredient changed: make sharp PHOTOS=<EarVN1.0 folder>

retrieval: photos uncompiled $(READY) ## real people found again by each encoder's features: make retrieval PHOTOS=<EarVN1.0 folder>
	ln -sfn "$(realpath $(PHOTOS))" studies/photos/raw
	dvc repro train@current weights@perceptual weights@v0
	cd studies && dvc repro retrieval/dvc.yaml
	PYTHONPATH=src python studies/teacher/page.py

greyscale: uncompiled $(READY) ## the same ears in colour and in grey: which are rebuilt worse, and why
	dvc repro weights@perceptual weights@v0
	cd studies && dvc repro greyscale/dvc.yaml

diagnosis: uncompiled $(READY) ## known faults planted in small models, and what the diagnosis says of them
	dvc repro weights@perceptual weights@v0
	cd studies && dvc repro diagnosis/dvc.yaml

teacher: uncompiled $(READY) ## landmarks, detection, probe and a student from the current model
	dvc repro train@current train@v1 train@v0
	cd studies && dvc repro teacher/dvc.yaml

torture: $(READY) ## malformed and hostile inputs, each with its one right outcome; a training killed 25 times
	PYTHONPATH=src python -m tests.torture

fuzz: $(READY) ## mutated files for every loader, for SECONDS=180
	PYTHONPATH=src python -m tests.torture.fuzz $(or $(SECONDS),180)
	PYTHONPATH=src python -m tests.torture.guided $(or $(SECONDS),180)

audit: $(READY) ## known vulnerabilities of the pinned packages (needs the network), and docs/licences.md
	PYTHONPATH=src python tools/list_licences.py
	python tools/audit.py --strict

# The peers come on top of the locked environment and change nothing in it: what they share with it, they take as it is.
$(VENV)/.bench: requirements-bench.lock $(READY)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

BENCH = PYTHONPATH=src python -m benchmarks
bench: $(VENV)/.bench ## our speed beside the peers', 40 minutes, and docs/benchmarks.md: BUDGET=<CPU-seconds of a run> DATA=<folder>
	dvc repro
	$(BENCH) quality throughput inference pipeline page $(BUDGET:%=--budget %) $(DATA:%=--data %)

bench-longer: $(VENV)/.bench ## time to quality once more, one run of each with 600 CPU-seconds, 40 minutes
	dvc repro
	$(BENCH) longer page $(DATA:%=--data %)

bench-growth: $(READY) ## time and memory at up to 64,000 pictures, 20 minutes
	dvc repro prepare weights linear
	$(BENCH) growth page

bench-quick: $(VENV)/.bench ## the same parts in 3 minutes, one small run of each: does it work
	dvc repro
	$(BENCH) quality throughput inference pipeline page --quick

bench-check: $(READY) ## has a ratio of the last `make bench` become worse than the stored ones
	$(BENCH) check

uncompiled:
	@find src -name __pycache__ -prune -exec rm -r {} +

photos:
	@test -d "$(PHOTOS)" || { echo "Say where the photos (earvn1_<person>_<photo>.jpg) lie: 'make $(firstword $(MAKECMDGOALS)) PHOTOS=<folder>'."; exit 1; }

lock: ## pin the newest versions that pyproject.toml admits (needs uv)
	uv pip compile pyproject.toml --group dev --all-extras --universal --generate-hashes --python-version 3.11 \
	  --no-annotate --no-header --quiet --upgrade -o requirements.lock
	uv pip compile pyproject.toml --group bench --all-extras --universal --generate-hashes --python-version 3.11 \
	  --constraints requirements.lock --no-emit-package dataclasses --no-annotate --no-header --quiet -o bench.full
	# What requirements.lock has stays there; the package dataclasses is part of Python by now.
	awk 'NR == FNR { seen[$$1] = 1; next } /^[^ ]/ { new = !($$1 in seen) } new' requirements.lock bench.full \
	  > requirements-bench.lock
	rm bench.full

clean: ## remove what the pipeline wrote, keep its cache
	rm -rf data/prepared data/linear data/weights data/features models/v0 models/v1 models/current .checkpoints
