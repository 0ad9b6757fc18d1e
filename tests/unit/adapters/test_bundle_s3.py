"""Signature Version 4 of one `GET`."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bundle_oci import Login
from adapters.bundle_s3 import S3Keys, signed
from tests.needs import needs

needs("botocore", "it comes with moto, which is in the group `test`")

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime(2026, 11, 28, 5, 30, 1, tzinfo=UTC)
KEY = st.text(st.characters(min_codepoint=1, exclude_characters="/?#", exclude_categories=("Cs",)), min_size=1, max_size=20)


def by_amazon(url: str, keys: S3Keys, monkeypatch: pytest.MonkeyPatch) -> str:
    request = AWSRequest("GET", url)
    with monkeypatch.context() as patched:
        patched.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
        S3SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.session_token), "s3", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


@given(st.lists(KEY, min_size=1, max_size=4), st.text("abc/+=", min_size=1, max_size=40), st.none() | st.text("abc/+=", min_size=1))
def test_it_is_the_signature_that_amazons_own_code_makes(path: list[str], secret: str, session: str | None) -> None:
    """For any key of an object, and with a session token."""
    keys = S3Keys("AKIAEXAMPLE", secret, session)
    url = f"http://127.0.0.1:9000/bundles/{quote('/'.join(path), safe='/-_.~')}"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert signed(url, "eu-central-1", keys, NOW)["authorization"] == by_amazon(url, keys, monkeypatch)


def test_secrets_are_not_shown() -> None:
    """Where keys are printed."""
    for keys in (S3Keys("AKIA", "s3cret", "s3cret"), Login("s3cret", "reader", "s3cret")):
        assert "s3cret" not in repr(keys)
