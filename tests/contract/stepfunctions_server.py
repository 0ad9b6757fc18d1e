"""Step Functions on loopback, in a process of its own: moto's, which runs state machines and checks signatures and permissions."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.contract.oci_registry import running
from tests.needs import needs

REGION = "eu-central-1"
ACCOUNT = "123456789012"
MACHINES: dict[str, Any] = {
    "echo": {"StartAt": "Echo", "States": {"Echo": {"Type": "Pass", "End": True}}},
    "fails": {"StartAt": "Fail", "States": {"Fail": {"Type": "Fail", "Error": "NoSuchPayment"}}},
    "sleeps": {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}},
}


def needed() -> None:
    """At the top of a test module."""
    needs("moto", "it is in the group `test`")
    needs("antlr4", "it is in the group `test`")


@dataclass
class Aws:
    """`access` and `secret` may use Step Functions, and nothing else."""

    port: int
    access: str = ""
    secret: str = ""
    queue: str = ""
    machines: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, name: str) -> Any:
        """As somebody who may do everything, also while signatures are checked."""
        import boto3

        return boto3.client(name, REGION, endpoint_url=self.url, aws_access_key_id=self.access, aws_secret_access_key=self.secret)

    def prepare(self) -> None:
        self._post("config", json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode(), "application/json")
        self.check_signatures(on=False)
        self.access = self.secret = "root"
        iam = self.client("iam")
        self.queue = self.client("sqs").create_queue(QueueName="tasks")["QueueUrl"]
        parameters = {"QueueUrl": self.queue, "MessageBody": {"token.$": "$$.Task.Token"}}
        asks = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": parameters, "End": True}
        for name, machine in {**MACHINES, "asks": {"StartAt": "Ask", "States": {"Ask": asks}}}.items():
            made = self.client("stepfunctions").create_state_machine(
                name=name, definition=json.dumps(machine), roleArn=f"arn:aws:iam::{ACCOUNT}:role/any"
            )
            self.machines[name] = made["stateMachineArn"]
        iam.create_user(UserName="lockgate")
        may = {"Effect": "Allow", "Action": ["states:*", "sqs:*"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.put_user_policy(UserName="lockgate", PolicyName="flows", PolicyDocument=document)
        key = iam.create_access_key(UserName="lockgate")["AccessKey"]
        self.check_signatures(on=True)
        self.access, self.secret = key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, name: str, *, may: bool) -> str:
        """A role that may use Step Functions, or nothing; checks of signatures have to be off."""
        trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity"}]})
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if may:
            document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "states:*", "Resource": "*"}]}
            self.client("iam").put_role_policy(RoleName=name, PolicyName="flows", PolicyDocument=json.dumps(document))
        return str(made)

    def token(self) -> str | None:
        """Of a task that waits."""
        got = self.client("sqs").receive_message(QueueUrl=self.queue).get("Messages", [])
        return str(json.loads(got[0]["Body"])["token"]) if got else None

    def check_signatures(self, *, on: bool) -> None:
        """Off for state machines that call other services: moto checks its own calls, too."""
        self._post("reset-auth", b"0" if on else b"1000000", "text/plain")

    def _post(self, path: str, content: bytes, kind: str) -> None:
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", content, {"content-type": kind}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def stepfunctions_server(folder: Path) -> Iterator[Aws]:
    made = Aws(free_ports(1)[0])
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(made.port)]
    with running(command, f"{made.url}/moto-api/", folder / "aws.log"):
        made.prepare()
        yield made
