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

# uv takes a tenth of pip's time. It reads nothing that pip was told, such as a company's own index: that is handed on. Where it does not get
# what it asks for, pip asks.
told() { "$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | head -n 1; }
if pip --no-deps --only-binary :all: --require-hashes -r requirements/installer.lock; then
  index=$(told index-url) authorities=$(told cert)
  [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
  [ -z "$authorities" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$authorities}"
  export UV_SYSTEM_CERTS=1 UV_NO_PROGRESS=1
  install() { "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "$@" || { echo "uv could not: pip tries" >&2; pip "$@"; }; }
else
  install() { pip "$@"; }
fi

if [ "$what" = extras ]; then
  pip "torch==2.13.0" # has builds that no hash list can hold
  install --no-deps --require-hashes -r requirements/fine-tune.lock
  install --require-hashes -r requirements/presidio.lock
  install --require-hashes -r requirements/qdrant.lock
  install --no-deps --require-hashes -r requirements/sentence-transformers.lock # torch is there already
  exit
fi
install --require-hashes -r "requirements/$what.lock"
if [ "$what" = dev ]; then
  pip --no-deps --ignore-requires-python --require-hashes -r requirements/conformance.lock
  # Envoy's published messages, for tests to compare with. Apart: they bring OpenTelemetry's along, in a version that breaks its SDK.
  rm -rf "$venv/envoy-api"
  install --no-deps --target "$venv/envoy-api" --require-hashes -r requirements/envoy-api.lock
  rm -rf "$venv/envoy-api/opentelemetry"
fi
install --no-deps --editable . --editable ./sdk
