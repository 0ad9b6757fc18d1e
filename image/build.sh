#!/bin/sh
# Builds the image without a daemon and without a registry: both bases are made from Debian's archive, and buildah runs the Containerfile
# in a chroot. As root, on Debian with mmdebstrap and buildah. Leaves an OCI archive in dist/, or fails where a registry would keep too much.
#
#   image/build.sh [NAME:TAG]     SOURCE_DATE_EPOCH: the date of everything in it; the last commit's otherwise
set -eu
for each in mmdebstrap buildah; do
  command -v $each >/dev/null || { echo "missing: $each; as root: apt-get install mmdebstrap buildah" >&2; exit 1; }
done
# Among mounts of its own: what is mounted is gone with this process, however it ends.
[ -n "${LOCKGATE_OWN_MOUNTS:-}" ] || LOCKGATE_OWN_MOUNTS=1 exec unshare --mount sh "$0" "$@"
cd "$(dirname "$0")/.."
name=${1:-lockgate:$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)} # this machine's own
most=350000000 # bytes, as a registry keeps it

work=$(mktemp -d)
trap 'umount --lazy "$work" 2>/dev/null; command rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# Tens of thousands of small files, written several times and then thrown away: in memory where there is enough, for a disk takes minutes.
free=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
[ "$free" -lt $((6 << 20)) ] || mount -t tmpfs -o size=4g,mode=700 tmpfs "$work"
export TMPDIR="$work"
# vfs everywhere: what overlay makes of the same files has another order, and so another digest, by how the kernel was built.
buildah() { command buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }

base() { # name, packages: straight into what becomes the layer
  container=$(buildah from --name "$1" scratch)
  folder=$(buildah mount "$container")
  mmdebstrap --quiet --variant=extract --mode=root --format=directory --include="$2" bookworm "$folder" "$mirror"
  [ "$1" = build ] || sh image/strip.sh "$folder"
  buildah commit --quiet --rm --timestamp "$SOURCE_DATE_EPOCH" "$container" "localhost/$1" >/dev/null
}
# What runs: Python without pip, no shell, and none of what configures packages, for nothing is configured.
base run python3.11-minimal,libpython3.11-stdlib,libstdc++6,tzdata,netbase,media-types,ca-certificates
# What builds: the same Python, with pip and a shell.
base build python3-minimal,python3-pip,dash,coreutils,libstdc++6

set -- --build-arg BUILD_BASE=localhost/build --build-arg RUN_BASE=localhost/run --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
# How pip and uv reach the index from here is this machine's matter: mounted for the build, and no part of the image.
authorities=/etc/ssl/certs/ca-certificates.crt
printf '[global]\ncert = %s\n' $authorities >"$work/pip.conf"
echo 'system-certs = true' >"$work/uv.toml"
if [ -n "${PIP_INDEX_URL:-}" ]; then
  echo "index-url = $PIP_INDEX_URL" >>"$work/pip.conf"
  printf '[[index]]\nurl = "%s"\ndefault = true\n' "$PIP_INDEX_URL" >>"$work/uv.toml"
fi
# Compressed where it is written: an image kept in between would be written and read once more.
buildah build --quiet --isolation chroot --network host --pull-never --layers=false --timestamp "$SOURCE_DATE_EPOCH" \
  --volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$work/uv.toml:/etc/uv/uv.toml:ro" \
  --volume "${PIP_CERT:-$authorities}:$authorities:ro" \
  ${WORKSPACE:+--build-arg "WORKSPACE=$WORKSPACE"} "$@" --ignorefile .containerignore --file Containerfile \
  --disable-compression=false --tag "oci:$work/image:$name" . >/dev/null
archive=dist/$(echo "$name" | tr ':/' '--').oci.tar
rm -f "$archive"
size=$(du --apparent-size --block-size=1 --summarize "$work/image/blobs/sha256" | cut -f 1)
[ "$size" -le $most ] || { echo "$name: $size bytes as a registry keeps it, and $most are the most" >&2; exit 1; }
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w -cf "$archive" -C "$work/image" blobs index.json oci-layout
echo "$archive: $((size >> 20)) MiB of at most $((most >> 20)), as a registry keeps it"
sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' "$work/image/index.json"
