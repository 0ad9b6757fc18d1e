#!/bin/sh
# Builds the image without a daemon and without a registry: both bases are made from Debian's archive, and buildah runs the Containerfile
# in a chroot. As root, on Debian with mmdebstrap and buildah. Leaves an OCI archive in dist/.
#
#   image/build.sh [NAME:TAG]     SOURCE_DATE_EPOCH: the date of everything in it; the last commit's otherwise
set -eu
cd "$(dirname "$0")/.."
name=${1:-lockgate:$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)} # this machine's own
for each in mmdebstrap buildah; do
  command -v $each >/dev/null || { echo "missing: $each; as root: apt-get install mmdebstrap buildah" >&2; exit 1; }
done
work=$(mktemp -d)
buildah() { command buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
trap 'command rm -rf "$work"' EXIT

# What runs: Python without pip, no shell, and none of what configures packages, for nothing is configured.
mmdebstrap --quiet --variant=extract --mode=root --format=directory \
  --include=python3.11-minimal,libpython3.11-stdlib,libstdc++6,tzdata,netbase,media-types,ca-certificates bookworm "$work/run.base" "$mirror"
sh image/strip.sh "$work/run.base"
# What builds: the same Python, with pip and a shell.
mmdebstrap --quiet --variant=extract --mode=root --format=directory --include=python3-minimal,python3-pip,dash,coreutils,libstdc++6 \
  bookworm "$work/build.base" "$mirror"

base() { # folder, name
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$1" / >/dev/null
  buildah commit --quiet --timestamp "$SOURCE_DATE_EPOCH" "$container" "$2" >/dev/null
  buildah rm "$container" >/dev/null
}
base "$work/run.base" localhost/run
base "$work/build.base" localhost/build
set -- --build-arg BUILD_BASE=localhost/build --build-arg RUN_BASE=localhost/run --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
# How pip reaches its index from here is this machine's matter: mounted for the build, and no part of the image.
{
  echo "[global]"
  [ -z "${PIP_INDEX_URL:-}" ] || echo "index-url = $PIP_INDEX_URL"
  echo "cert = /run/authorities.crt"
} >"$work/pip.conf"
buildah build --quiet --isolation chroot --network host --pull-never --layers=false --timestamp "$SOURCE_DATE_EPOCH" \
  --volume "$work/pip.conf:/etc/pip.conf:ro" --volume "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}:/run/authorities.crt:ro" \
  ${WORKSPACE:+--build-arg "WORKSPACE=$WORKSPACE"} "$@" --ignorefile .containerignore --tag "$name" --file Containerfile .
archive=dist/$(echo "$name" | tr ':/' '--').oci.tar
rm -f "$archive"
buildah push --quiet "$name" "oci-archive:$archive:$name"
echo "$archive: $(($(stat -c %s "$archive") >> 20)) MiB, as a registry keeps it"
sha256sum "$archive"
