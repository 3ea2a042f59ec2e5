# `make help` lists the commands. Each first sees to it that .venv is complete, which costs nothing once it is.
.DEFAULT_GOAL := help
BIN := .venv/bin

# The kind of machine, cpu or cuda: as told (MOTET_BACKEND), else as .venv was made, else by looking for a driver.
BACKEND := $(or $(MOTET_BACKEND),$(shell cat .venv/.backend 2>/dev/null),$(shell \
	if [ -r /proc/driver/nvidia/version ] && [ -e /dev/nvidiactl ]; then echo cuda; \
	elif nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then echo cuda; else echo cpu; fi))

# Named after everything that set-up depends on, the checkout's own path included since a venv cannot be moved.
SOURCES := pyproject.toml tools/setup.py requirements/$(BACKEND).txt requirements/dev.txt requirements/uv.txt
STAMP := .venv/.motet-$(BACKEND)-$(shell { pwd; cat $(SOURCES); } | cksum | tr ' ' '-')

.PHONY: help setup serve test check format bench models lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  MOTET_BACKEND=cpu|cuda chooses the build of torch and vLLM, PYTHON=... the interpreter of a new .venv."

setup: $(STAMP) ## install everything into .venv (done by the other commands too)

$(STAMP):
	@python=; for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
		if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
			2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "No usable Python among: $(or $(PYTHON),python3.11 python3.12 python3.13 python3)." >&2; \
		echo "motet needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian and Ubuntu:" >&2; \
		echo "apt-get install python3 python3-venv). Another place: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	exec "$$python" tools/setup.py --backend "$(BACKEND)" --stamp "$(STAMP)"

serve: $(STAMP) ## serve the bundled models, or: make serve MODEL=Qwen/Qwen3-8B AMATEUR=Qwen/Qwen3-0.6B PORT=8000
	@exec $(BIN)/motet serve $(if $(MODEL),"$(MODEL)") $(if $(AMATEUR),--amateur "$(AMATEUR)") \
		$(if $(PORT),--port "$(PORT)") $(ARGS)

# Files of tests run side by side, as most of their time is one process's start; on a GPU engines would not fit together.
JOBS := $(if $(filter cuda,$(BACKEND)),0,2)

test: $(STAMP) ## run every test; narrow it with ARGS="tests/kernels -k contrast"; JOBS=0 runs one file at a time
	@exec $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP) ## lint, formatting, types, who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## measure strategies, a load and the kernels in under ten minutes; write the report and the README's table
	@exec $(BIN)/motet bench all --readme README.md $(ARGS)

models: $(STAMP) ## train the bundled models anew; ARGS are passed on
	@exec $(BIN)/motet models build $(ARGS)

lock: $(STAMP) ## resolve the exact versions in requirements/ anew; ARGS="--upgrade PACKAGE"
	@$(BIN)/python -m pip install --quiet --no-deps -r requirements/uv.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/lock.py $(ARGS)

clean: ## remove .venv and the tools' caches
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
