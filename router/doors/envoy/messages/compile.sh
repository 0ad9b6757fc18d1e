#!/bin/sh
# Makes envoy_pb2.py and its types from envoy.proto. No runtime may be older than the compiler, so the extra's floor follows this version.
set -eu
python=$1
cd "$(dirname "$0")/../../../.."
"$python" -m pip install -q "grpcio-tools==1.85.1"
"$python" -m grpc_tools.protoc -I . --python_out=. --pyi_out=. router/doors/envoy/messages/envoy.proto
