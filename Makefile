# Every target works on a fresh Debian 12 or Fedora machine with git, make, python3 (3.11 to 3.13) and root or sudo.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test kubernetes test-conformance test-infra chaos fuzz screenshots lint audit bench

BIN := .venv/bin
# Whatever the caller's shell says: thousands of processes start in the tests alone. What is compiled once is kept, and no
# Python reads its script a byte at a time, as it does unbuffered.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# ansible-lint looks for our modules, and for ansible itself, where these say.
LINT := PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_LIBRARY="$(CURDIR)/playbooks/library"

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 25

setup: ## install what is missing: system packages, then .venv (the other targets do this themselves)
	@scripts/setup

demo: setup ## take a packager's push through the whole pipeline on this machine
	@$(BIN)/ci-pipeline demo

demo-stop: ## stop everything the demo started
	@if [ -x $(BIN)/ci-pipeline ]; then $(BIN)/ci-pipeline down; else echo "nothing was ever started here"; fi

test: setup ## lint and tests
	@status=0; \
	$(MAKE) --no-print-directory lint || status=$$?; \
	$(BIN)/pytest --numprocesses=2 --dist=loadgroup --no-loadscope-reorder || status=$$?; \
	exit $$status

kubernetes: ## build Kubernetes' API server and its tests from Debian's sources, once: the demo's last stage runs on it
	@scripts/kubernetes

test-conformance: setup ## build a real Kubernetes API server, once, and run the conformance stage on it
	@KUBERNETES_OF_THE_TESTS="$$(scripts/kubernetes)" && export KUBERNETES_OF_THE_TESTS && \
	$(BIN)/pytest tests/playbooks/conformance

test-infra: ## several builders whose cables are pulled, providers of hosts, a mass rebuild, and docker-compose.yaml on a Docker engine that runs here
	@scripts/setup infra
	@UV_SYSTEM_CERTS="$${UV_SYSTEM_CERTS:-true}" .tools/bin/uv sync -q --frozen --group infra
	@$(BIN)/pytest tests/infra

ROUNDS ?= 3
chaos: setup ## kill every part of a working pipeline: each by itself, then ROUNDS times over (3), as SEED draws it
	@$(BIN)/pytest -x -p no:randomly tests/e2e/kills tests/e2e/test_chaos.py --chaos-rounds=$(ROUNDS) $(if $(SEED),--chaos-seed=$(SEED))

MINUTES ?= 10
MESSAGES ?= 20000
fuzz: setup ## make up MESSAGES (20000) and, for so many MINUTES (10), files of strangers, others each time
	@scripts/fuzz $(MINUTES) $(MESSAGES)

screenshots: setup ## take the pictures of docs/operating.md anew, of the demo as it runs
	@$(BIN)/python scripts/screenshots.py

# The slowest first. Two at once, and what each prints in one piece.
CHECKS := "ansible-lint --offline -q" "mypy" "ruff check" "ruff format --check" "lint-imports" "yamllint --strict ."

lint: setup ## ruff, mypy, import-linter, yamllint, ansible-lint
	@printf '%s\n' $(CHECKS) | xargs -P 2 -I CHECK sh -c \
		'said=$$($(LINT) $(BIN)/CHECK 2>&1); status=$$?; printf "== %s\n%s\n" "CHECK" "$$said"; exit $$status'

audit: setup ## ask osv.dev for known vulnerabilities of everything uv.lock pins
	@UV_SYSTEM_CERTS="$${UV_SYSTEM_CERTS:-true}" .tools/bin/uv audit --frozen --preview-features audit-command || \
	{ echo "something was found, or nothing could be asked: see above" >&2; exit 1; }

bench: setup ## measure the pipeline beside its yardsticks (BENCH="intake scale --messages 5000"; BENCH=--help)
	@$(BIN)/python -m tests.benchmarks $(BENCH)
