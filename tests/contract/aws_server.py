"""Amazon's services on loopback: moto's server, in a process of its own, ended by its pid. What it keeps is gone with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.contract.oci_registry import running
from tests.contract.s3_server import S3
from tests.needs import needs

REGION, ACCOUNT = "eu-central-1", "123456789012"
KEYS = {"region": REGION, "access_key": "root", "secret_key": "root"}


def needed() -> None:
    """At the top of a test module."""
    needs("moto", "it is in the group `test`")


@dataclass
class Amazon:
    port: int
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def account(self) -> dict[str, str]:
        return {**KEYS, "endpoint": self.url}

    def client(self, name: str) -> Any:
        if name not in self.clients:
            self.clients[name] = S3(self.port)._client(name)
        return self.clients[name]

    def queue(self, name: str, **attributes: str) -> str:
        more = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        return str(self.client("sqs").create_queue(QueueName=name, Attributes={**more, **attributes})["QueueUrl"])

    def subscribed(self, topic: str, queue: str, *, raw: bool) -> str:
        """A topic whose messages go to the queue."""
        more = {"FifoTopic": "true"} if topic.endswith(".fifo") else {}
        arn = str(self.client("sns").create_topic(Name=topic, Attributes=more)["TopicArn"])
        at = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = {"RawMessageDelivery": "true"} if raw else {}
        self.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=at, Attributes=told)
        return arn

    def bus(self, name: str, queue: str) -> None:
        """An event bus whose events all go to the queue."""
        events = self.client("events")
        events.create_event_bus(Name=name)
        events.put_rule(Name=f"{name}-all", EventBusName=name, EventPattern='{"source": ["lockgate"]}', State="ENABLED")
        at = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_targets(Rule=f"{name}-all", EventBusName=name, Targets=[{"Id": "queue", "Arn": at}])

    def read_all(self, queue: str) -> list[dict[str, Any]]:
        """What lies there, which is gone then."""
        found, sqs = list[dict[str, Any]](), self.client("sqs")
        while True:
            got = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=0
            ).get("Messages", [])
            if not got:
                return found
            found += got
            for each in got:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])


@contextmanager
def amazon(folder: Path) -> Iterator[Amazon]:
    made = Amazon(free_ports(1)[0])
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(made.port)]
    with running(command, f"{made.url}/moto-api/", folder / f"amazon-{made.port}.log"):
        yield made


def attributes(message: dict[str, Any]) -> dict[str, str]:
    return {name: each["StringValue"] for name, each in message.get("MessageAttributes", {}).items()}
