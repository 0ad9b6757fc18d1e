"""The URL that a message goes to: configured, or made of the request where configuration says to which hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from yarl import URL

from adapters.messaging.destination import failure
from adapters.messaging.message import Message
from router.templates import TextTemplate

_SEGMENTS = r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
_QUERY = r"(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
_URL = re.compile(rf"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{{1,5}}))?({_SEGMENTS})({_QUERY})")
_KNOWN_HOST = re.compile(r"https?://[^/{}?#]+(?:[/?]|$)")
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_STRUCTURE = "/?&="
HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[?[0-9a-f:.]+\]?")


def checked(text: str, hosts: Sequence[str], *, insecure: bool) -> URL:
    """Raises ValueError with one sentence that does not have the URL."""
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError("must be an https URL of a host, a path and a query, in ASCII, without a user or a fragment")
    scheme, host, port, path, _ = found.groups()
    if scheme != "https" and not insecure:
        raise ValueError("must be https, unless `insecure` is set")
    if not _plain(host):
        raise ValueError("must have a name or a whole address as its host")
    if port is not None and not 0 < int(port) <= 65535:
        raise ValueError("must have a port between 1 and 65535")
    if any(_DOTS.fullmatch(segment) for segment in path.split("/")):
        raise ValueError("must have no dot segments in its path")
    if hosts and not any(_matches(host.lower().strip("[]"), each) for each in hosts):
        raise ValueError("must have one of the hosts in `hosts`")
    return URL(text, encoded=True)


def _plain(host: str) -> bool:
    """A host whose last label is a number is an address, and then in its one usual form."""
    if not host.startswith("[") and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (address.version == 6) == host.startswith("[")


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern.strip("[]")


class Endpoint:
    def __init__(self, url: TextTemplate, hosts: Sequence[str], *, insecure: bool) -> None:
        """Raises ValueError with one sentence."""
        self._url, self._hosts, self._insecure = url, hosts, insecure
        source = str(url.source)
        self.fixed = checked(source, hosts, insecure=insecure) if _EXPRESSION.search(source) is None else None
        self._host_known = _KNOWN_HOST.match(source) is not None
        self._written = _EXPRESSION.sub("", source)
        if self.fixed is None and not self._host_known and not hosts:
            raise ValueError("takes its host from the request and needs `hosts`, which says which ones may be")
        if self._host_known and source.startswith("http:") and not insecure:
            raise ValueError("must be https, unless `insecure` is set")

    def of(self, message: Message) -> URL:
        """Raises DestinationError."""
        if self.fixed is not None:
            return self.fixed
        text = message.text(self._url)
        if self._host_known and any(text.count(mark) != self._written.count(mark) for mark in _STRUCTURE):
            raise failure("endpoint_refused", "what the request puts into the URL would change its path or its query")
        try:
            return checked(text, self._hosts, insecure=self._insecure)
        except ValueError as error:
            raise failure("endpoint_refused", f"the URL that the request makes {error}") from None
