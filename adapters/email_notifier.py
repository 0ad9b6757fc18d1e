"""The `email` kind of notifier: mail over SMTP (RFC 5321), encrypted from the first byte (RFC 8314) or after STARTTLS (RFC 3207).

A relay that stops offering STARTTLS is not spoken to: whoever sits between could have taken the offer away. The standard library's client
blocks, so each sending has a thread, and its socket is cut when the time is up.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.http_upstream.tls import context
from adapters.messaging.destination import failure
from adapters.notifying.words import words
from adapters.webhook.guard import AddressRefusedError, Guard, checked_socket
from router.errors import ConfigError, DestinationError
from router.ports import Clock, Notice
from router.secret import Secret
from router.settings import Bool, Network, Span, Strict, Text

__all__ = ["Config", "build"]
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:]{2,45}")
_THREADS = 4
PORTS = {"starttls": 587, "tls": 465, "none": 25}


def mailbox(value: str) -> str:
    if _ADDRESS.fullmatch(value) is None:
        raise ValueError("must be a mail address such as reviews@example.com, in ASCII and without a name")
    return value


def host_name(value: str) -> str:
    if _HOST.fullmatch(value) is None:
        raise ValueError("must be the name or the address of a host")
    return value


Mailbox = Annotated[Text, AfterValidator(mailbox)]


class Config(Strict):
    """Sends mail over a relay."""

    host: Annotated[Text, AfterValidator(host_name)] = Field(description="The relay.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Its port; without this 587, 465 or 25, as `security` has it.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`tls` encrypts from the first byte; `starttls` before anything is said; `none` needs `insecure`."
    )
    insecure: Bool = Field(default=False, description="Let mail, and the password if there is one, go unencrypted.")
    sender: Mailbox = Field(description="Address that the mail is from.")
    to: tuple[Mailbox, ...] = Field(min_length=1, max_length=50, description="Addresses that it goes to.")
    user: Text | None = Field(default=None, description="Name to log in with.")
    password: Secret | None = Field(default=None, description="Password to log in with.")
    hello: Annotated[Text, AfterValidator(host_name)] = Field(
        default="localhost", description="What this machine calls itself to the relay."
    )
    allow_networks: tuple[Network, ...] = Field(
        default=(), description="Networks that may be connected to though they are not public, such as that of a relay of one's own."
    )
    timeout: Span = Field(default=20.0, description="Longest time for one sending, connecting included.")
    tls: Tls = Field(default=Tls(), description="TLS towards the relay.")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("has 'user' and 'password' together, or neither")
        if (self.security == "none") != self.insecure:
            raise ValueError("needs 'insecure: true' where 'security' is none, and has it only there")
        return self


class EmailNotifier:
    """Implements `router.ports.Notifier`."""

    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self._settings, self._clock, self._root = settings, clock, root
        self._guard = Guard(settings.allow_networks)
        self._threads: ThreadPoolExecutor | None = None
        self._secure: ssl.SSLContext | None = None

    async def open(self) -> None:
        self._password()
        tls = self._settings.tls
        self._secure = context(*(None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key)))
        self._threads = ThreadPoolExecutor(_THREADS, "mail")

    async def close(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def tell(self, notice: Notice, link: str) -> None:
        if self._threads is None or self._secure is None:
            raise failure("destination_closed", "the notifier is not open")
        mail, session = self._written(notice, link), _Session(self._settings, self._guard, self._secure)
        sending = asyncio.get_running_loop().run_in_executor(self._threads, self._send, session, mail)
        try:
            async with asyncio.timeout(self._settings.timeout):
                await asyncio.shield(sending)
        except TimeoutError:
            session.cut()
            sending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise failure("upstream_timeout", "the relay did not take the mail in time", sent=True) from None
        except (smtplib.SMTPException, OSError, ValueError, ConfigError) as error:
            raise _translated(error) from error

    def _send(self, session: _Session, mail: EmailMessage) -> None:
        try:
            session.begin()
            password = self._password()
            if self._settings.user is not None and password is not None:
                session.login(self._settings.user, password)
            session.send_message(mail, self._settings.sender, list(self._settings.to))
            with suppress(smtplib.SMTPException, OSError):  # it is taken, whatever becomes of the farewell
                session.quit()
        finally:
            session.close()

    def _written(self, notice: Notice, link: str) -> EmailMessage:
        told, settings = words(notice, link), self._settings
        mail = EmailMessage()
        mail["Subject"] = f"{told.headline} (risk: {dict(told.facts)['Risk']})"
        mail["From"], mail["To"] = settings.sender, ", ".join(settings.to)
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock.now_ns() // 10**9, UTC))
        mail["Message-ID"] = f"<{notice.id}@{settings.sender.rpartition('@')[2]}>"  # the same each time, so that it is shown once
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence is announced to it
        mail.set_content("\n".join(told.lines) + "\n")
        return mail

    def _password(self) -> str | None:
        return None if self._settings.password is None else self._settings.password.reveal(self._root)


class _Session(smtplib.SMTP):
    """One conversation over a socket to a checked address."""

    def __init__(self, settings: Config, guard: Guard, secure: ssl.SSLContext) -> None:
        super().__init__(local_hostname=settings.hello, timeout=settings.timeout)
        self._settings, self._guard, self._secure = settings, guard, secure
        self._is_cut = False
        self._host = settings.tls.server_name or settings.host  # whose name the certificate must carry

    def begin(self) -> None:
        settings = self._settings
        self.connect(settings.host, settings.port or PORTS[settings.security])
        self.ehlo_or_helo_if_needed()
        if settings.security == "starttls":
            self.starttls(context=self._secure)
            self.ehlo_or_helo_if_needed()

    def cut(self) -> None:
        self._is_cut = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """What smtplib connects with."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if not all(self._guard.allows(str(info[4][0])) for info in found):
            raise AddressRefusedError
        plain = self._connected(found)
        if self._settings.security != "tls":
            return plain
        try:
            return self._secure.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def _connected(self, found: list[Any]) -> socket.socket:
        last = OSError("the relay's name leads nowhere")
        for info in found:
            if self._is_cut:
                break
            made = checked_socket(self._guard, info)
            try:
                made.settimeout(self._settings.timeout)
                made.connect(info[4])
            except OSError as error:
                made.close()
                last = error
            else:
                return made
        raise last


def _translated(error: Exception) -> DestinationError:
    """The only place where the library's errors become ours. What the relay said is not repeated: it may name addresses."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return failure("upstream_denied", "the relay does not accept our name and password")
    if isinstance(error, smtplib.SMTPNotSupportedError | ssl.SSLError):
        return failure("tls_failed", "the relay offers no encryption that can be used")
    codes = _codes(error)
    if codes and min(codes) >= 500:
        return failure("upstream_refused", f"the relay refuses the mail ({max(codes)})")
    if codes:
        return failure("upstream_unavailable", f"the relay does not take the mail now ({min(codes)})")
    if isinstance(error, AddressRefusedError):
        return failure("endpoint_address_refused", "the relay's host has an address that may not be connected to")
    if isinstance(error, smtplib.SMTPException):
        return failure("upstream_reset", "the relay ended the conversation", sent=True)
    return failure("connect_failed", "no connection to the relay could be made or kept")


def _codes(error: Exception) -> list[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []


def build(settings: Config, *, clock: Clock, root: Path = Path(), resolver: Any = None) -> EmailNotifier:
    return EmailNotifier(settings, clock, root)
