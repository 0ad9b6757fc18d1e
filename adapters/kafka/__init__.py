"""Kafka: a destination and a consumer. What they share is how brokers are reached and how their errors become ours."""
