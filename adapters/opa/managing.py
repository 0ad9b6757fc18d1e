"""Policies and data of an OPA server, compared and put there one by one, through `opa-python-client`.

OPA takes each change by itself and compiles everything anew, so what depends on others is put there after them, and a server that decides
meanwhile decides by a mixture. Who cannot have that uses bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from opa_client import OpaClient
from opa_client.errors import DeleteDataError, DeletePolicyError, PolicyNotFoundError, RegoParseError

from router.config.opa import UNIX, OpaEngine
from router.errors import ConfigError, PolicyError

CONFIG = "lockgate/config"
TIMEOUT_S = 30.0
MOST_CHARS = 500  # of one fault
Policies = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """Policies by their names on the server; `config` is `data.lockgate.config`, None where there is none."""

    policies: Policies
    config: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """Names of policies; `kept` are on the server alone and are left there."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    data: bool = False

    @property
    def any(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.data)


def difference(wanted: Stored, there: Stored, *, delete: bool) -> Difference:
    both = wanted.policies.keys() & there.policies.keys()
    alone = tuple(sorted(there.policies.keys() - wanted.policies.keys()))
    return Difference(
        added=tuple(sorted(wanted.policies.keys() - there.policies.keys())),
        changed=tuple(sorted(name for name in both if wanted.policies[name] != there.policies[name])),
        removed=alone if delete else (),
        kept=() if delete else alone,
        same=tuple(sorted(name for name in both if wanted.policies[name] == there.policies[name])),
        data=wanted.config != there.config,
    )


@dataclass(slots=True)
class Managed:
    """One server. Every method raises PolicyError with a sentence."""

    settings: OpaEngine
    root: Path
    token: str | None
    _client: OpaClient = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        if settings.url.startswith(UNIX):
            raise ConfigError("Policies are put on a server by TCP; opa-python-client has no unix sockets.")
        secure: bool | str = settings.url.startswith("https://")
        if settings.ca is not None:
            secure = str(self.root / settings.ca)
        own = (settings.certificate, settings.key)
        files = None if None in own else tuple(str(self.root / str(each)) for each in own)
        self._client = OpaClient(ssl=secure, cert=files, token=self.token, retries=0, timeout=TIMEOUT_S)
        self._client.root_url = f"{settings.url}/v1"
        self._client._session.trust_env = False  # the token goes where the URL says and nowhere else
        self._client._session.max_redirects = 0

    def stored(self) -> Stored:
        with self._told():
            names = self._client.get_policies_list()
            policies = {name: self._client.get_policy(quote(name))["result"]["raw"] for name in names}
        return Stored(policies, self._config())

    def bring(self, wanted: Stored, there: Stored, changes: Difference) -> None:
        """Raises PolicyError with what does not compile, after what was there before is there again as far as that can be."""
        if changes.data:
            self._put_data(wanted.config)  # where this is refused, there is nothing to put back
        try:
            self._put({name: wanted.policies[name] for name in (*changes.added, *changes.changed)})
            self._removed(changes.removed)
        except PolicyError:
            self._restored(there, changes)
            raise

    def close(self) -> None:
        self._client.close_connection()

    def _config(self) -> Any:
        with self._told():
            try:
                return self._client.get_data(CONFIG)["result"]
            except PolicyNotFoundError:
                return None

    def _put_data(self, config: Any) -> None:
        with self._told():
            if config is None:
                self._client.delete_data(CONFIG)
            else:
                self._client.update_or_create_data(config, CONFIG)

    def _put(self, policies: Policies) -> None:
        self._each(policies, lambda name: self._client.update_policy_from_string(policies[name], quote(name), rego_compat=False))

    def _removed(self, names: tuple[str, ...]) -> None:
        self._each(dict.fromkeys(names, ""), lambda name: self._client.delete_policy(quote(name)))

    def _each(self, waiting: Policies, change: Callable[[str], object]) -> None:
        """Again and again, as long as one more is taken: what one needs may come with another."""
        while waiting:
            refused: dict[str, str] = {}
            for name in waiting:
                with self._told():
                    try:
                        change(name)
                    except RegoParseError as error:
                        refused[name] = _why(name, error)
                    except DeletePolicyError as error:
                        refused[name] = _printable(f"{name}: it cannot be removed: {error.message}")
            if len(refused) == len(waiting):
                raise PolicyError("\n".join((f"The OPA server {self.settings.url} does not take:", *refused.values())), "policy_refused")
            waiting = {name: waiting[name] for name in refused}

    def _restored(self, there: Stored, changes: Difference) -> None:
        former = {name: text for name, text in there.policies.items() if name in (*changes.changed, *changes.removed)}
        try:
            if changes.data:
                self._put_data(there.config)
            self._put(former)
            held = self._client.get_policies_list()
            self._removed(tuple(name for name in changes.added if name in held))
        except (PolicyError, requests.RequestException):
            raise PolicyError(
                f"The OPA server {self.settings.url} took some of the changes only, and does not go back to what it had; look at it.",
                "policy_refused",
            ) from None

    @contextmanager
    def _told(self) -> Any:
        """The one place where what the client and its HTTP library raise becomes ours; nothing that they say is repeated, for it may hold
        the token."""
        server = f"The OPA server {self.settings.url}"
        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            code = "policy_unauthorized" if status in (401, 403) else "policy_unavailable"
            raise PolicyError(f"{server} answered {status}.", code) from None
        except requests.JSONDecodeError:
            raise PolicyError(f"{server} answered with something that OPA does not.", "policy_unavailable") from None
        except (requests.RequestException, OSError):
            raise PolicyError(f"{server} cannot be reached, or broke off.", "policy_unavailable") from None
        except PolicyNotFoundError:
            raise PolicyError(f"{server} does not give what it listed.", "policy_unavailable") from None
        except (DeleteDataError, RegoParseError) as error:
            raise PolicyError(f"{server} does not take the data: {_printable(str(error.message))}.", "policy_refused") from None
        except (LookupError, TypeError, AttributeError):
            raise PolicyError(f"{server} answered with something that OPA does not.", "policy_unavailable") from None


def _why(name: str, error: RegoParseError) -> str:
    """As compilers say it. OPA names the file where it found the fault, which may be another's."""
    lines = []
    for each in error.errors if isinstance(error.errors, list) else []:
        where = each.get("location") or {}
        lines.append(f"{where.get('file', name)}:{where.get('row', 1)}: {each.get('message', each.get('code', 'refused'))}")
    return "\n".join(_printable(line) for line in lines or [f"{name}: {error.message}"])


def _printable(text: str) -> str:
    """What another machine says, for a terminal."""
    return "".join(each if each.isprintable() else " " for each in text[:MOST_CHARS])
