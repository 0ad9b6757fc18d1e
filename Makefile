# One line a target; everything else is in what they call.
VENV ?= .venv
PY := $(VENV)/bin/python
BASE := $(VENV)/.base
DEV := $(VENV)/.dev
# One more than CI has cores: many tests wait for a lease, a session or a broker, and then another has the core.
JOBS ?= 3
EXTRAS := $(VENV)/.extras
.PHONY: demo demo-envoy test extras debian check fmt bench docs model multilingual clean e2e long e2e-llm e2e-engines faults bench-large lock chart image try-image sbom audit-dependencies
.DEFAULT_GOAL := demo
# Tests start Lockgate hundreds of times: where the environment forbids compiled modules to be kept, every start compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

demo: $(if $(COMPANY),$(DEV)) model ; @$(PY) -m examples.halden.demo $(if $(COMPANY),--company) $(if $(ONCE),--once)
demo-envoy: $(DEV) model ; @$(PY) -m examples.halden.demo --envoy $(if $(ONCE),--once)
test: $(DEV) model ; @$(PY) -m pytest -m "not slow" -rs -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)
check: $(DEV) ; @cd . && export PATH=$(VENV)/bin:$$PATH && ruff format --check -q . && ruff check -q . && mypy && PYTHONPATH=sdk lint-imports --no-cache && python -m router.cli.schema --check
fmt: $(DEV) ; @$(VENV)/bin/ruff check --fix-only -q . ; $(VENV)/bin/ruff format -q .
bench: $(DEV) model ; @$(PY) -m tests.bench $(ARGS)
bench-large: $(DEV) model ; @$(PY) -m tests.bench --large $(ARGS)
e2e: $(DEV) model ; @LOCKGATE_PICTURES=1 $(PY) -m pytest tests/e2e $(ARGS)
long: $(DEV) model ; @$(PY) -m pytest -m slow tests --ignore tests/e2e --ignore tests/faults $(ARGS)
e2e-llm: $(DEV) ; @$(PY) -m pytest -m llm tests/e2e/test_llm.py tests/e2e/test_proposals.py tests/contract/test_llm_destination.py $(ARGS)
e2e-engines: $(DEV) ; @$(PY) -m pytest -m engines tests/e2e/test_engines.py $(ARGS)
faults: $(DEV) model ; @$(PY) -m pytest tests/faults $(ARGS)
docs: $(DEV) ; @$(PY) -m router.cli.schema --write
model: $(BASE) ; @$(PY) -m model.install
multilingual: $(BASE) ; @$(PY) -m model.install multilingual
extras: $(EXTRAS) model multilingual
debian: ; @sh requirements/debian.sh
chart: $(DEV) ; @$(PY) -m tests.helm
image: model ; @sh image/build.sh $(NAME)
try-image: $(DEV) model ; @$(PY) -m pytest tests/helm/test_built_image.py $(ARGS)
sbom: ; @sh image/dependencies.sh sbom
audit-dependencies: ; @sh image/dependencies.sh audit
lock: $(DEV) ; @sh requirements/compile.sh $(VENV)
clean: ; rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BASE): pyproject.toml requirements/base.lock ; @sh requirements/install.sh $(VENV) base && touch $@
$(EXTRAS): $(DEV) requirements/fine-tune.lock requirements/presidio.lock requirements/qdrant.lock requirements/sentence-transformers.lock ; @sh requirements/install.sh $(VENV) extras && touch $@
$(DEV): $(BASE) requirements/dev.lock requirements/conformance.lock requirements/envoy-api.lock ; @sh requirements/install.sh $(VENV) dev && touch $@
