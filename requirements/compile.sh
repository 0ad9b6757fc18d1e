#!/bin/sh
# Pins everything with hashes; names no index. PyTorch is not in any of these: it has builds that no hash list can hold.
set -eu
venv=$1
"$venv/bin/python" -m pip install -q uv
pin() { "$venv/bin/uv" pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 "$@"; }
pin pyproject.toml -o requirements/base.lock
pin pyproject.toml --group test --group check -c requirements/base.lock -o requirements/dev.lock
pin model/requirements.in -o requirements/model.lock
pin --no-deps requirements/fine-tune.in -c requirements/dev.lock -o requirements/fine-tune.lock
pin pyproject.toml --extra presidio -c requirements/dev.lock -o requirements/presidio.lock
pin pyproject.toml --extra qdrant -c requirements/dev.lock -c requirements/presidio.lock -o requirements/qdrant.lock
pin pyproject.toml --extra sentence-transformers --overrides requirements/without-torch.txt -c requirements/dev.lock -c requirements/presidio.lock -o requirements/sentence-transformers.lock
pin requirements/image-tools.in -o requirements/image-tools.lock
pin requirements/installer.in -o requirements/installer.lock
pin pyproject.toml --extra postgres --extra envoy --extra envoy-zttp --extra redis -c requirements/dev.lock -o requirements/image.lock
echo "xds-protos==1.85.0" | pin --no-deps - -o requirements/envoy-api.lock
