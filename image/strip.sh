#!/bin/sh
# From the base that runs: certificates are put together as their package would do, then what only configures packages goes.
set -eu
cd "$1"
mkdir -p etc/ssl/certs
find usr/share/ca-certificates -name '*.crt' | LC_ALL=C sort | xargs cat > etc/ssl/certs/ca-certificates.crt
find usr/bin usr/sbin bin sbin -mindepth 1 ! -name python3.11 -delete
rm -rf dev/* proc sys run
ln -s python3.11 usr/bin/python3
rm -rf usr/share/ca-certificates usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/share/perl5 usr/lib/dpkg usr/share/dpkg \
  usr/share/debconf usr/share/bash-completion usr/share/bug usr/lib/python3/dist-packages var/lib/dpkg/info var/cache var/lib/apt etc/apt etc/dpkg \
  usr/lib/python3.11/lib2to3 usr/lib/python3.11/pydoc_data usr/lib/python3.11/turtledemo usr/lib/python3.11/idlelib \
  usr/share/perl usr/lib/*/perl* usr/share/pixmaps usr/share/menu var/log
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > etc/passwd
printf 'root:x:0:\nnonroot:x:65532:\n' > etc/group
mkdir -p tmp && chmod 1777 tmp
