# One command file: CI runs exactly what a developer runs. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format services services-stop kills owners poison llm-faults rulings outages rebalances applies simulate mutants bench bench-policy lock clean
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
KAFKA_PORT ?= 19092
OPA_PORT ?= 18181
POSTGRES_PORT ?= 15432
TOXIPROXY_PORT ?= 18474
kafka_port = $(KAFKA_PORT)
opa_port = $(OPA_PORT)
postgres_port = $(POSTGRES_PORT)
toxiproxy_port = $(TOXIPROXY_PORT)
WHAT ?= $(PARTS)
N ?= 20
SECONDS ?= 5
BACKBONE ?=
ONLY ?=
WORKSPACE ?=
CHART ?=

BIN := .venv/bin
PARTS := kafka opa postgres toxiproxy

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv exactly as the lock says; does nothing when it already is
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON) on this machine. Nothing was installed. Install Python 3.11 or newer, or name yours: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) requirements/install.py

demo: setup ## Break real processes and watch the loop repair them
	@$(BIN)/setpoint demo incident

test: setup lint ## Check everything and run the whole suite; starts a Kafka of its own if none answers
	@$(BIN)/pytest

lint: setup ## Style, types and who may import whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Put the code into the house's form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

services: ## Start real parts on this machine, built or fetched once (WHAT="kafka opa postgres toxiproxy", KAFKA_PORT=19092, ...)
	@$(if $(filter-out $(PARTS),$(WHAT)),$(error there is no part $(filter-out $(PARTS),$(WHAT)); nothing was started. WHAT may name: $(PARTS)))
	@$(foreach part,$(WHAT),$(PYTHON) services/$(part).py start .services/$(part)/dev --port $($(part)_port) &&) true

services-stop: ## Stop those parts; what they hold is kept
	@$(foreach part,$(WHAT),$(PYTHON) services/$(part).py stop .services/$(part)/dev &&) true

kills: setup ## Kill the real service N times under load and judge the world (N=20, BACKBONE=kafka, WORKSPACE=orders|incident)
	@$(BIN)/python -m tests.kill --kills $(N) $(if $(BACKBONE),--backbone $(BACKBONE)) $(if $(WORKSPACE),--workspace $(WORKSPACE))

owners: setup ## Pause, kill and rebalance real owners of partitions, and wipe their topics, N times each (N=20)
	@TURNS=$(N) $(BIN)/pytest tests/contract/backbone/test_one_owner.py tests/contract/backbone/test_continuity.py \
		tests/contract/backbone/test_stock_faust.py tests/contract/backbone/test_rebalance.py

poison: setup ## Write N records of every kind of poison onto a log, then mend and redrive (N=20, BACKBONE=)
	@$(BIN)/python -m tests.poison --each $(N) $(if $(BACKBONE),--backbone $(BACKBONE))

llm-faults: setup ## Let a language model fail in every way, N times each, in a whole service (N=20)
	@SETPOINT_LLM_CASES=$(N) $(BIN)/pytest tests/unit/test_llm_service.py

outages: setup ## Take the database away from the real service N times, SECONDS at most each, and check what came of it (N=20, SECONDS=5)
	@$(BIN)/python -m tests.kill.outages --outages $(N) --seconds $(SECONDS)

rulings: setup ## Put N thousand inputs, hostile ones among them, to regorus and to a real OPA and compare (N=20)
	@RULINGS=$(N)000 $(BIN)/pytest -s --timeout 3600 tests/property/test_both_policy_engines_agree.py

rebalances: setup ## Let loop workers join, leave and be killed N times on the Kafka of make services (N=20, KAFKA_PORT=)
	@$(BIN)/python -m tests.workers.rebalances --n $(N) --kafka 127.0.0.1:$(KAFKA_PORT)

applies: setup ## Measure N applies until every worker follows, on the Kafka of make services (N=20, KAFKA_PORT=)
	@$(BIN)/python -m tests.workers.applies --n $(N) --kafka 127.0.0.1:$(KAFKA_PORT)

simulate: setup ## Run the loop N times in a world in which everything goes wrong, and judge each run (N=20)
	@$(BIN)/setpoint simulate --seeds $(N)

mutants: setup ## Put known bugs into copies of the tree, one by one, and see that each is found (ONLY=name)
	@$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY))

bench: setup ## Measure against stock Faust, OPA's ruling and ansible-rulebook (BACKBONE=kafka://host:port, CHART=file.svg)
	@$(BIN)/python -m tests.bench $(if $(BACKBONE),--backbone $(BACKBONE)) $(if $(CHART),--chart $(CHART))

bench-policy: setup ## Measure what a ruling costs: in process, and by OPA over HTTP and a unix socket
	@$(BIN)/python -m tests.bench.policy

lock: setup ## Resolve the dependencies again and write the locks with their hashes
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --extra dev --output-file requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml --output-file requirements/run.txt
	@printf 'ansible-core\nansible-rulebook\n' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 - --output-file requirements/bench-rulebook.txt

clean: ## Delete caches and build products; keeps .venv, services and data
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
