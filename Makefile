# The same commands for people and for CI. Each goal says what it is for after `##`; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help up test check bench chaos model fuzz docs requirements clean

PYTHON ?= python3
OPTIONS ?=
JOBS ?= 4
BIN := .venv/bin
MANIFESTS := requirements/install requirements/build.txt $(wildcard */pyproject.toml hub/*.py hub/package*.json)
CODE := protocols/src agent/src hub/src firmware-sim/src tests

help: ## list these goals
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' Makefile

up: .venv/.runtime ## start the hub and a small street of simulated devices, data in ./data
	@exec $(BIN)/lamplighter up --demo --data data $(OPTIONS)

test: .venv/.dev ## run every test, JOBS at a time; those that load the whole machine run alone
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not scale'
	@exec $(BIN)/pytest -m scale

check: .venv/.dev ## formatting, lint, types, import rules, freshness of generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/python tests/docs/generate.py --check

bench: .venv/.dev .venv/.bench ## measure, print what was measured with the command that repeats it, draw charts: [MEASURES="city flat"]
	@PYTHONPATH=tests exec $(BIN)/python -m bench $(MEASURES)

chaos: .venv/.dev ## break everything by a seeded plan, show that nothing is lost: [SEED=] [MINUTES=5] [ON=nats|mosquitto|grown]
	@PYTHONPATH=tests exec $(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),5) --on $(or $(ON),nats)

model: .venv/.dev ## hold outbox, ledger and receipts against a model, with crashes anywhere: [EXAMPLES=200] [SEED=]
	@PYTHONPATH=tests exec $(BIN)/python -m suites.delivery --examples $(or $(EXAMPLES),200) $(if $(SEED),--seed $(SEED)) $(OPTIONS)

fuzz: .venv/.dev $(if $(API),.venv/.api) ## feed mutated input to every decoder: [INPUTS=100000] [SEED=]; API=1 [EXAMPLES=50]: draw requests to a hub
	@PYTHONPATH=tests exec $(BIN)/python -m $(if $(API),fuzz.api --examples $(or $(EXAMPLES),50),fuzz --inputs $(or $(INPUTS),100000)) $(if $(SEED),--seed $(SEED))

docs: .venv/.dev ## write the generated pages of docs/ again
	$(BIN)/python tests/docs/generate.py

requirements: .venv/.runtime ## resolve and pin requirements/*.txt again
	requirements/compile

clean: ## remove what the goals above made, except data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find protocols agent hub firmware-sim tests -name __pycache__ -prune -exec rm -rf {} +

.venv/.api: requirements/api.txt | .venv/.dev
	$(BIN)/python -m venv --clear .venv/api
	.venv/api/bin/python -m pip install --quiet --require-hashes -r requirements/api.txt
	@touch $@

.venv/.%: requirements/%.txt $(MANIFESTS)
	@PYTHON='$(PYTHON)' requirements/install $*
	@touch $@
