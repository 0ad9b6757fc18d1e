"""The code that the page about n8n gives away verifies what Lockgate signs, and nothing else."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adapters.webhook.signing import Signing
from router.secret import Secret
from tests.needs import needs_program
from tests.unit.docs.pages import page

SECRET, OTHER = ("whsec_" + base64.b64encode(bytes([letter]) * 32).decode() for letter in (1, 2))
BODY = '{"person": "Änne"}'
NOW = 1_795_000_000


def verified(headers: dict[str, str], body: str, now: int = NOW) -> Any:
    needs_program("node", "install Node.js")
    (code,) = re.findall(r"```javascript\n(.+?)```", page("destinations/n8n.md"), re.DOTALL)
    call = f"{code}\nconsole.log(JSON.stringify(verified({json.dumps(headers)}, {json.dumps(body)}, {json.dumps(SECRET)}, {now})))"
    return json.loads(subprocess.run(["node", "-e", call], capture_output=True, text=True, check=True, timeout=30).stdout)


def signed(*secrets: str) -> dict[str, str]:
    signing = Signing([Secret(each) for each in secrets], Path())
    signing.open()
    return signing.headers("msg_1", NOW, BODY.encode())


@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER, SECRET)])
def test_what_lockgate_signed_is_taken(secrets: tuple[str, ...]) -> None:
    assert verified(signed(*secrets), BODY) is True


def test_what_it_did_not_sign_is_not() -> None:
    good = signed(SECRET)
    assert verified(signed(OTHER), BODY) is False
    assert verified(good, BODY + " ") is False
    assert verified(good | {"webhook-id": "msg_2"}, BODY) is False
    assert verified(good, BODY, NOW + 301) is False
    for changed in ({"webhook-timestamp": "x"}, {"webhook-signature": ""}, {"webhook-signature": "v1"}, {"webhook-signature": "v1a,AAAA"}):
        assert verified(good | changed, BODY) is False
    assert verified({}, BODY) is False
