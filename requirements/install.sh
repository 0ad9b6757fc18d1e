#!/bin/sh
# Installs the pinned packages of a lock file into a virtual environment, and the project itself beside them, editable.
set -eu
venv=$1 what=$2
if [ ! -x "$venv/bin/python" ]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Lockgate needs Python 3.11 or newer; this is $(python3 -V)." >&2; exit 1; }
  echo "making a virtual environment in $venv"
  python3 -m venv "$venv" || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
fi
echo "installing the pinned packages of requirements/$what"
pip() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }
if [ "$what" = extras ]; then
  pip "torch==2.13.0" # has builds that no hash list can hold
  pip --no-deps --require-hashes -r requirements/fine-tune.lock
  pip --require-hashes -r requirements/presidio.lock
  pip --require-hashes -r requirements/qdrant.lock
  pip --no-deps --require-hashes -r requirements/sentence-transformers.lock # torch is there already
  exit
fi
pip --require-hashes -r "requirements/$what.lock"
if [ "$what" = dev ]; then
  pip --no-deps --ignore-requires-python --require-hashes -r requirements/conformance.lock
  # Envoy's published messages, for tests to compare with. Apart: they bring OpenTelemetry's along, in a version that breaks its SDK.
  rm -rf "$venv/envoy-api"
  pip --no-deps --target "$venv/envoy-api" --require-hashes -r requirements/envoy-api.lock
  rm -rf "$venv/envoy-api/opentelemetry"
fi
pip --no-deps --editable . --editable ./sdk
