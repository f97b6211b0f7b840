# Every target does its own set-up. What `venv` installs is hash-pinned in requirements/dev.txt.
PYTHON ?= python3
PYTEST ?= .venv/bin/pytest
STAMP := .venv/.installed
# Tests start hundreds of processes: they shall not compile the same files anew each time, where the environment says so.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: venv demo up test chaos pooler storm model fuzz bounds soak bench bench-smoke lint rules audit sbom lock image clean check-clean help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## prepare .venv with everything
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"CueBX Jobs needs Python 3.11 or newer; $(PYTHON) is {v.major}.{v.minor}. Call: make PYTHON=python3.11 venv" if v < (3, 11) else 0)'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: venv ## the showcase: faults included, about a minute
	.venv/bin/cuebx demo

up: venv ## everything, until Ctrl-C
	.venv/bin/cuebx up

test: venv ## all tests, in parallel
	$(PYTEST) -n 4 $(ARGS)

chaos: venv ## the fault matrix, for real: ROWS="2 16 22" for some of it, JSON=FILE for the table, WRITE=1 for docs/reliability.md
	$(PYTEST) tests/chaos -n 3 -m row --rows "$(ROWS)" $(if $(JSON),--chaos-json $(JSON)) $(if $(WRITE),--chaos-write) $(ARGS)

pooler: venv ## all of it behind PgBouncer (Debian's pgbouncer) in transaction mode
	$(PYTEST) tests/pooler $(ARGS)

storm: venv ## everything goes wrong at random, then an audit: MINUTES=10 SEED=3, JSON=FILE for the numbers
	.venv/bin/python -m tests.chaos.storm --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON)) $(ARGS)

model: venv ## many more interleavings of the protocol than in the tests: WALKS=20000 SEED=0 EXAMPLES=2500
	MODEL_WALKS=$(or $(WALKS),20000) MODEL_SEED=$(or $(SEED),0) MODEL_EXAMPLES=$(or $(EXAMPLES),2500) $(PYTEST) tests/model -n 2 --timeout 3600 $(ARGS)

fuzz: venv ## many more odd values on every way in than in the tests: TIMES=20
	FUZZ=$(or $(TIMES),20) $(PYTEST) tests/fuzz -n 2 --timeout 3600 $(ARGS)

bounds: venv ## recovery against its promises, into docs/reliability.md: TRIES=20
	.venv/bin/python -m tests.chaos.bounds --tries $(or $(TRIES),20) --write $(ARGS)

soak: venv ## memory and connections over time, into docs/reliability.md: MINUTES=30
	.venv/bin/python -m tests.chaos.soak --minutes $(or $(MINUTES),30) --write $(ARGS)

bench: venv ## every benchmark beside its peers, into docs/performance.md: NAMES="throughput pickup"
	.venv/bin/python -m benchmarks $(or $(NAMES),all) --write $(ARGS)

bench-smoke: venv ## that every benchmark works and its audit passes; figures mean nothing
	.venv/bin/python -m benchmarks all --smoke $(ARGS)

lint: venv ## ruff, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

rules: venv ## write docs/rules-and-tests.md anew
	.venv/bin/python docs/rules_table.py

check-clean: ## fail if the tests left processes of this checkout behind
	@left=$$(ps -eo pid,args | grep -F "$(CURDIR)/.venv" | grep -v grep || true); \
	  if [ -n "$$left" ]; then echo "left behind:"; echo "$$left"; exit 1; fi

audit: venv ## known vulnerabilities (asks a service) and licences of what is locked
	.venv/bin/python -m deploy.licences
	.venv/bin/python -m deploy.audit $(AUDIT)

sbom: venv ## write build/sbom.cdx.json, the bill of materials
	.venv/bin/python -m deploy.sbom

lock: venv ## write the locks anew
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra sentry pyproject.toml -o requirements/runtime.txt -q
	.venv/bin/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt -q
	.venv/bin/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra peers -c requirements/runtime.txt pyproject.toml -o requirements/peers.txt -q
	sed -n '/^setuptools==/,/^    # via/p' requirements/dev.txt | grep -v '# via' > requirements/build.txt

image: venv ## build the container images with buildah, and check them
	.venv/bin/python -m deploy.build_images
	.venv/bin/python -m deploy.check_images

clean: ## remove what was built, not the data
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
