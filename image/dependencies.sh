#!/bin/sh
# What is in the image, as a CycloneDX list (`sbom`), and what the advisory database of Python packages knows about it (`audit`). Both tools are
# pinned like everything else, and in an environment of their own.
set -eu
cd "$(dirname "$0")/.."
what=$1 tools=.cache/image-tools lock=requirements/image.lock
if [ ! -e "$tools/.done" ] || [ requirements/image-tools.lock -nt "$tools/.done" ]; then
  python3 -m venv "$tools"
  "$tools/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/image-tools.lock
  touch "$tools/.done"
fi
case $what in
sbom)
  mkdir -p dist
  "$tools/bin/cyclonedx-py" requirements --output-reproducible --of JSON --sv 1.6 -o dist/lockgate.cdx.json --pyproject pyproject.toml "$lock"
  echo "dist/lockgate.cdx.json: $(grep -c '"purl"' dist/lockgate.cdx.json) packages"
  ;;
audit)
  # Whether the database answers is asked first: without it nothing is known, which is neither good nor bad news.
  if ! "$tools/bin/python" -c 'import urllib.request as u; u.urlopen("https://api.osv.dev/v1/vulns/PYSEC-2021-19", timeout=10)' 2>/dev/null; then
    echo "The advisory database (api.osv.dev) cannot be reached from here, so nothing is known about $lock; run this where it can." >&2
    exit 0
  fi
  "$tools/bin/pip-audit" --vulnerability-service osv --require-hashes --disable-pip --requirement "$lock"
  ;;
*) echo "image/dependencies.sh: sbom or audit" >&2; exit 2 ;;
esac
