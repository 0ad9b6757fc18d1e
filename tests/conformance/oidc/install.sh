#!/bin/sh
# Installs the pinned OpenID provider into a folder of its own, once: `install.sh <folder>`. Prints what is missing where it cannot.
set -eu
from=$(dirname "$0") into=$1
command -v node >/dev/null && command -v npm >/dev/null || { echo "the OpenID provider of these tests needs node 18 or newer, with npm" >&2; exit 1; }
mkdir -p "$into"
cmp -s "$from/package-lock.json" "$into/.installed" && [ -d "$into/node_modules" ] && exit 0
cp "$from/package.json" "$from/package-lock.json" "$into/"
cd "$into"
npm ci --silent --ignore-scripts --no-audit --no-fund || { echo "npm could not install the OpenID provider of these tests" >&2; exit 1; }
cp package-lock.json .installed
