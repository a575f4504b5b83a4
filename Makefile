# Everything here sets up what it needs first (`setup`), and does nothing twice.
# `make help` lists the targets.

PYTHON ?= $(shell for each in python3 python3.13 python3.14 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && exit; done; echo python3)
BIN := .venv/bin
STAND := PYTHONPATH=tests PYTHONDONTWRITEBYTECODE=1 $(BIN)/python -m stand
export GATE_FILE CLAIMS EVENT EMULATOR_PORT GITLAB_PORT

# Tests on the stand wait more than they compute: more processes than cores pay.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest
PARALLEL := --dist loadfile --no-loadscope-reorder
SLOWEST := --durations=20 --durations-min=1

.DEFAULT_GOAL := help
.PHONY: help setup demo up down token invoke traffic test test-all pictures unit simulate crashes crosscheck lint format docs bench bench-verdicts burst build deploy check cost scale lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## make the environments, from the locks
	@command -v $(PYTHON) >/dev/null || { echo "error: Python 3.11 or later is needed, and $(PYTHON) is not on the PATH" >&2; exit 1; }
	@$(PYTHON) tests/stand/bootstrap.py

demo: setup ## the main job, as a user sees it, from nothing to nothing
	@$(STAND) demo

up: setup ## start the stand, or deploy what changed to it (GATE_FILE=path: another gate file)
	@$(STAND) up

down: setup ## end the stand
	@$(STAND) down

token: ## print a job's ID token (CLAIMS='{"ref": "v1.2.3"}')
	@test -x $(BIN)/python || { echo "error: the stand is not up: make up" >&2; exit 1; }
	@$(STAND) token

invoke: setup ## sam local invoke with a fresh token against the stand (EVENT=accepted, or another of events/)
	@$(STAND) invoke

traffic: ## send requests by an alias' weights to the stand (FUNCTION=orders-api ALIAS=prod RATE=10)
	@test -x $(BIN)/python || { echo "error: the stand is not up: make up" >&2; exit 1; }
	@$(STAND) traffic $(FUNCTION) $(ALIAS) $(if $(RATE),--rate $(RATE))

test: setup ## the unit tests, and the core of those on the stand
	@$(PYTEST) -n $(WORKERS) $(PARALLEL) -m "not extended" tests/contract tests/integration tests/unit

test-all: setup ## every test, with the slowest; needs chromium, and a container engine, or root on Debian
	@$(PYTEST) -n $(WORKERS) $(PARALLEL) $(SLOWEST) tests/browser tests/container tests/contract tests/integration tests/unit

pictures: setup ## take the pictures of the board in docs/pictures again; needs chromium
	@PICTURES=1 $(PYTEST) tests/browser/test_pages.py

unit: setup ## the tests that need no stand
	@$(PYTEST) -n auto $(PARALLEL) tests/unit

simulate: setup ## run the simulation: SEEDS=2000, or one seed with its trace: SEED=7 (BROKEN=no-fence: of a broken variant; COVERAGE=1)
	@PYTHONPATH=layers/shared/python:cli:tests $(BIN)/python $(if $(COVERAGE),$(COVER)) -m simulation $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(FIRST),--first $(FIRST)) $(if $(SEED),--seed $(SEED)) $(if $(BROKEN),--broken $(BROKEN)) $(if $(COVERAGE),--workers 0)
	@$(if $(COVERAGE),$(BIN)/coverage report --data-file build/simulate.coverage --skip-empty --sort miss)

# One process: what the workers of a pool run is not counted.
COVER := -m coverage run --branch --concurrency greenlet --data-file build/simulate.coverage \
	--source layers/shared/python/sluicegate/deployer,layers/shared/python/sluicegate/store,layers/shared/python/sluicegate/recovery,layers/shared/python/sluicegate/rollout,layers/shared/python/sluicegate/relay,layers/shared/python/sluicegate/notifier,layers/shared/python/sluicegate/pruning,layers/shared/python/sluicegate/gateway

crashes: setup ## every crash and every pair of crashes of each kind of deployment, and of a pruning (TRIPLES=1: triples too)
	@$(if $(TRIPLES),TRIPLES=1 )$(PYTEST) tests/unit/deployer/test_crashes.py tests/unit/deployer/test_crash_pairs.py tests/unit/pruning/test_interruptions.py

crosscheck: setup ## what we believe of AWS, against a second emulator (exit code 3: not available here)
	@PYTHONPATH=tests $(BIN)/python -m stand.crosscheck

lint: setup ## ruff, mypy, cfn-lint, sam validate, the gate file
	@.ci/lint

format: setup ## let ruff write the format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix --quiet .

docs: setup ## build the site of docs/ into build/site; a broken link is an error
	@$(BIN)/zensical build --strict --clean

bench: setup ## print the figures, and write them to build/bench.json
	@rm -f build/bench.json
	@for each in decision verdicts rollout paths; do PYTHONPATH=layers/shared/python:cli:tests:. $(BIN)/python bench/$$each.py || exit 1; done

bench-verdicts: setup ## print false rollbacks and power of the comparison over the whole table, in hours (ONLY=bursts: a part)
	@PYTHONPATH=layers/shared/python:tests:. $(BIN)/python bench/verdicts.py --table $(if $(ONLY),--only "$(ONLY)") $(if $(RUNS),--runs $(RUNS))

burst: setup ## release many functions at once, with Lambda's quotas and without, in minutes (FUNCTIONS=300)
	@PYTHONPATH=layers/shared/python:cli:tests:. $(BIN)/python bench/burst.py $(if $(FUNCTIONS),--functions $(FUNCTIONS))

cost: setup ## write docs/reference/cost.md: what the stack costs
	@PYTHONPATH=layers/shared/python:cli:tests:. $(BIN)/python bench/cost.py --write

scale: setup ## write docs/explanation/scale.md: how far one stack scales
	@PYTHONPATH=layers/shared/python:cli:tests:. $(BIN)/python bench/scale.py --write

check: setup ## check sluicegate.yaml and run its tests
	@$(BIN)/sluicegate check

build: setup ## sam build, for AWS
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build

deploy: setup ## sam deploy to the AWS account of your credentials (ARGS: more of sam's own)
	@$(BIN)/python -m sluicegate_cli.deploying $(ARGS)
	@$(MAKE) --no-print-directory build
	@[ -z "$$AWS_REGION" ] || export AWS_DEFAULT_REGION="$${AWS_DEFAULT_REGION:-$$AWS_REGION}"; \
	$(BIN)/sam deploy $(ARGS) && $(BIN)/python -m sluicegate_cli.deployed $(ARGS) && \
	$(BIN)/python -m sluicegate_cli.deployed_targets $(ARGS)

lock: setup ## write the locks again, from the *.in files
	@for each in uv emulator runtime-image checkov; do $(COMPILE) requirements/$$each.in -o requirements/$$each.txt; done
	@$(COMPILE) --python-version 3.13 requirements/crosscheck.in -o requirements/crosscheck.txt
	@$(COMPILE) requirements/dev.in pyproject.toml -o requirements/dev.txt
	@for each in board dependencies; do $(COMPILE) layers/$$each/requirements.in -o layers/$$each/requirements.txt; done

COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

clean: ## remove everything that was made, environments included
	@if [ -x $(BIN)/python ]; then $(STAND) down; fi
	rm -rf .venv .stand .aws-sam build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
