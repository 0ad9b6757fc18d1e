"""An S3 server on loopback, in a process of its own: moto's, which checks signatures and permissions when it is told to."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.contract.oci_registry import running
from tests.needs import needs

REGION, BUCKET = "eu-central-1", "bundles"


def needed() -> None:
    """At the top of a test module."""
    needs("moto", "it is in the group `test`")


@dataclass
class S3:
    """`access` and `secret` may read what is in the bucket, and do nothing else."""

    port: int
    access: str = ""
    secret: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, key: str, content: bytes) -> None:
        """As somebody who may."""
        self.check_signatures(on=False)
        self._client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
        self.check_signatures(on=True)

    def check_signatures(self, *, on: bool) -> None:
        count = b"0" if on else b"1000000"
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", count, {"content-type": "text/plain"}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def prepare(self) -> None:
        self.check_signatures(on=False)
        self._client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        iam = self._client("iam")
        iam.create_user(UserName="reader")
        may = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=document)
        made = iam.create_access_key(UserName="reader")["AccessKey"]
        self.access, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        self.check_signatures(on=True)

    def _client(self, name: str) -> Any:
        import boto3

        return boto3.client(name, REGION, endpoint_url=self.url, aws_access_key_id="root", aws_secret_access_key="root")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    made = S3(free_ports(1)[0])
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(made.port)]
    with running(command, f"{made.url}/moto-api/", folder / "s3.log"):
        made.prepare()
        yield made
