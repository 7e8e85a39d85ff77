# Every target sets up what it needs; `make` alone lists them. The work is done by CMake, pip and pytest:
# this file only says in which order.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 15
TIDY ?=
# Tests wait for servers and disks: one worker more than there are processors. TEST_JOBS=0: one by one.
export TEST_JOBS ?= $(shell echo $$(($(JOBS) + 1)))
PYTEST ?= $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadgroup --no-loadscope-reorder
CTEST := ctest --output-on-failure -j $(JOBS)

# The thread sanitizer of older compilers cannot map its shadow under a kernel that randomises more bits.
FIXED_ADDRESSES := $(shell setarch -R true 2>/dev/null && echo setarch -R)

# Sanitizers stop at the first finding: a report nobody fails on is a report nobody reads.
export ASAN_OPTIONS ?= detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1

##@ Use
.PHONY: demo test
demo: install ## Run the demonstration: a web application, several workers, three tenants
	$(BIN)/tenancy demo $(ARGS)

test: test-cpp test-python ## Run every C++ and Python test

##@ Develop
.PHONY: setup build build-cpp install quick test-cpp test-python test-web test-package test-fallback notebooks
setup: ## Install system packages, make .venv, install Python packages
	@.ci/setup

build: build-cpp install ## Build the engine, its tests and the Python module

build-cpp: setup
	cmake --preset dev -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python --log-level=WARNING
	cmake --build --preset dev -j $(JOBS)

# Editable: Python files are used where they are, the compiled module comes from build/python.
install: setup
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps \
	  --config-settings=build-dir=build/python --editable .

quick: build-cpp install ## The fast loop: build, then all tests but the slow ones
	cd build/dev && $(CTEST)
	$(PYTEST) -q -m "not slow"

test-cpp: build-cpp ## Run the C++ tests
	cd build/dev && $(CTEST)

test-python: install ## Run the Python tests
	$(PYTEST)

test-web: install ## Run the web tests against the oldest FastAPI and Flask (`make test`: the newest)
	.ci/web-matrix

test-package: setup ## Install from a clean copy into an empty environment and use it
	.ci/package-check

test-fallback: setup ## Build on a system without the libraries, from the pinned sources (ARGS=all: everything)
	.ci/fallback-check $(ARGS)

notebooks: install ## Run the notebooks and keep what they show (ARGS=billing: one)
	$(BIN)/python .ci/notebooks.py $(ARGS)

##@ Check
.PHONY: lint lint-python lint-cpp format asan tsan fuzz bench
lint: lint-python lint-cpp ## ruff, mypy --strict, clang-format, clang-tidy

lint-python: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-cpp: setup
	@.ci/setup lint
	.ci/lint-cpp $(TIDY)

format: setup ## Format C++ and Python in place
	git ls-files -co --exclude-standard '*.cc' '*.h' | xargs -r $(BIN)/clang-format -i
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

asan: setup ## C++ tests under the address and undefined-behaviour sanitizers
	cmake --preset asan --log-level=WARNING
	cmake --build --preset asan -j $(JOBS)
	cd build/asan && $(CTEST)

tsan: setup ## C++ tests under the thread sanitizer
	cmake --preset tsan --log-level=WARNING
	cmake --build --preset tsan -j $(JOBS)
	cd build/tsan && $(FIXED_ADDRESSES) $(CTEST)

fuzz: install ## Every fuzz target for FUZZ_SECONDS seconds
	@.ci/setup fuzz
	.ci/fuzz $(FUZZ_SECONDS)

bench: install ## The benchmarks, beside their peers
	cmake --preset release -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python --log-level=WARNING
	cmake --build --preset release -j $(JOBS)
	.ci/bench

##@ Other
.PHONY: clean help
clean: ## Remove what was built (.venv stays)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
