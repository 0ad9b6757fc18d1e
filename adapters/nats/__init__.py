"""NATS: a destination over JetStream or request and reply, and a consumer of JetStream streams. What they share is one connection."""
