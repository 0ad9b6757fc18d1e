"""Redis Streams, over our own connections (`adapters/redis_state`)."""
