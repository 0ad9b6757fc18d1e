"""Events come in here: over HTTP with a signature or a credential, and from brokers. Each is decided once."""
