# Every target sets up what it needs in .venv first. `make` lists them.
VENV ?= .venv
PY := $(VENV)/bin/python
export VENV

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench gallery notebooks docs build sanitize ptx fuzz lock pythons clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## run the main job: width sweeps, figures and a report in edt-demo/
	@bash .ci/setup.sh
	$(PY) -m edt demo $(ARGS)

test: ## run the tests
	@bash .ci/setup.sh test
	$(PY) -m pytest $(ARGS)

lint: ## ruff, mypy (strict), layers, the core's stub and clang-format
	@bash .ci/setup.sh lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) .ci/layers.py
	bash .ci/stubs.sh
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh' 'tests/*.h' 'tests/*.cpp' | xargs $(VENV)/bin/clang-format --dry-run --Werror

format: ## format Python and C++ in place
	@bash .ci/setup.sh lint
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'csrc/*.cuh' 'tests/*.h' 'tests/*.cpp' | xargs $(VENV)/bin/clang-format -i

bench: ## speed against PyTorch and JAX: table, JSON and plot in benchmarks/results/
	@bash .ci/setup.sh bench
	$(PY) -m pytest benchmarks $(ARGS)

gallery: ## run every study whose report the site lacks (ARGS=--quick: small ones)
	@bash .ci/setup.sh
	$(PY) .ci/docs_gallery.py $(ARGS)

notebooks: ## compute the tutorial notebooks anew (ARGS=docs/notebooks/NAME.ipynb)
	@bash .ci/setup.sh test
	$(PY) .ci/docs_notebooks.py $(ARGS)

docs: ## the documentation as a site in site/
	@bash .ci/setup.sh docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

sanitize: ## kernel tests under the address, undefined-behaviour and thread sanitizers
	@bash .ci/sanitize.sh

ptx: ## all tests of the CUDA kernels on nvcc's PTX, executed on the CPU, and their counts
	@bash .ci/setup.sh test
	EDT_KERNELS=ptx $(PY) -m pytest tests/cuda/test_ptx_machine.py tests/cuda/test_ops.py tests/cuda/test_wide.py tests/cuda/test_tensor_cores.py tests/cuda/test_training.py tests/cuda/test_pairs.py tests/cuda/test_activations.py tests/cuda/test_chains.py $(ARGS)
	PYTHONPATH=. $(PY) tests/support/ptx_counts.py

fuzz: ## readers of files under atheris, a minute each (ARGS="toml --seconds 600 --keep")
	@bash .ci/setup.sh test,fuzz
	$(PY) -m tests.fuzz.fuzz $(ARGS)

lock: ## pin the packages of development in requirements/
	@bash .ci/setup.sh test,lint,docs
	$(PY) .ci/lock.py

pythons: ## install, build and test with every Python from 3.10 to 3.13 that is here
	bash .ci/pythons.sh

build: ## rebuild the compiled core in place
	$(PY) setup.py build_ext --inplace

clean: ## remove build outputs (not .venv)
	rm -rf build *.egg-info edt/_core*.so
