"""Where somebody signed in from and with what, as roughly as it takes."""

from __future__ import annotations

import pytest

from router.identity.seen import Seen, seen

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("127.0.0.1", "this machine"),
        ("::1", "this machine"),
        ("testclient", ""),
        ("", ""),
    ],
)
def test_an_address_is_kept_as_its_network(address: str, network: str) -> None:
    assert seen(address, "") == Seen(network, "")


@pytest.mark.parametrize(
    ("agent", "browser"),
    [
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/142.0.0.0", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/18 Safari/604",
            "Safari on iOS",
        ),
        ("Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox on Android"),
        ("curl/8.5", ""),
        ("<script>Linux", "Linux"),
        ("", ""),
    ],
)
def test_of_a_browser_only_our_own_words_are_kept(agent: str, browser: str) -> None:
    assert seen("", agent).browser == browser
