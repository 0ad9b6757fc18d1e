#!/bin/sh
# What tests and the image need beside Python packages, from Debian. Run as root, or where these are there already.
set -eu
missing=
for each in strace:strace chromium:chromium docker-registry:docker-registry promtool:prometheus \
  redis-server:redis-server redis-sentinel:redis-sentinel rabbitmqctl:rabbitmq-server \
  mmdebstrap:mmdebstrap buildah:buildah; do
  command -v "${each%%:*}" >/dev/null || missing="$missing ${each##*:}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "missing:$missing; as root: apt-get install$missing" >&2; exit 1; }
echo "installing$missing"
# RUNLEVEL: servers among them are started by tests, and by nobody else.
apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
