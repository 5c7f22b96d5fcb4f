# How the C++ of tests is compiled: for each kind of SANITIZE in a folder of its own.

ROOT     := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../..)
SANITIZE ?= none
BUILD    := $(ROOT)/build/cpp-$(SANITIZE)

# Sanitized code takes a fraction of the time to compile so, and about as long to run.
OPTIMISE_none    := -O2
OPTIMISE_thread  := -O1
OPTIMISE_address := -Og
OPTIMISE := $(OPTIMISE_$(SANITIZE))
CXXFLAGS ?= $(OPTIMISE) -g1
override CXXFLAGS += -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
                     -ffp-contract=off -pthread -MMD -MP -I$(ROOT)/csrc -I$(ROOT)/tests -I$(ROOT)/tests/cpp
ifeq ($(SANITIZE),address)
override CXXFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($(SANITIZE),thread)
override CXXFLAGS += -fsanitize=thread
endif
