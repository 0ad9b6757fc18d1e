"""The door for Envoy, which carries the bytes and asks about each request: `ext_proc`, `ext_authz`, and its access log.

heads      what Envoy says of a request, as the head that every HTTP door reads
judging    one request: identity, limits, the pipeline, and what may go on or what its caller is told; knows no protocol
answers    that answer in Envoy's messages
processing, authorizing, access_log    the three gRPC services
outcomes   decisions whose request is under way, until somebody says how it ended
server     the listener on gRPC's own library, its TLS and its health
zttp       the same listener on zttp; connection, calls, framing, health    what gRPC's library would have brought along
streams    what the services need of either
"""
