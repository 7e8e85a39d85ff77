"""Alerts by e-mail: a message for each recipient, so that one who is refused delays no other.

`alert_smtp` sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from .._text import check_email, check_text, shown
from ..errors import InvalidValue
from .alert_destinations import Destination, check_destination_name, check_timeout, tls_context
from .alert_records import Alert

__all__ = ["Email", "Mailbox"]


_TLS = ("starttls", "tls", "none")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RECIPIENTS_MAX = 20


@dataclass(frozen=True)
class Email:
    """A mail server and whom to write to.

    `tls` is `starttls` (port 587; never goes on without), `tls` (port 465) or `none`, which sends
    a password only to this host. `ca_file` is a PEM file of the authorities to trust instead of
    the system's. Each recipient is a destination of its own, named `email:` and the address.
    """

    host: str
    port: int
    sender: str
    to: str | Sequence[str]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "starttls"
    timeout: timedelta | float = 30.0
    ca_file: str | None = None

    def __post_init__(self) -> None:
        check_text(self.host, "host", 255)
        if not self.host.isascii() or any(c.isspace() or c in "/@" for c in self.host):
            raise InvalidValue("host", f"{shown(self.host)} is no name of a host")
        if isinstance(self.port, bool) or not isinstance(self.port, int):
            raise InvalidValue("port", f"expected a number, got {shown(self.port)}")
        if not 0 < self.port < 1 << 16:
            raise InvalidValue("port", f"{self.port}, expected 1 to 65535")
        object.__setattr__(self, "sender", _ascii(self.sender, "sender"))
        to = (self.to,) if isinstance(self.to, str) else self.to
        if not isinstance(to, (list, tuple)) or not 0 < len(to) <= _RECIPIENTS_MAX:
            raise InvalidValue("to", f"expected one to {_RECIPIENTS_MAX} addresses")
        object.__setattr__(self, "to", tuple(_ascii(one, "to") for one in to))
        check_timeout(self.timeout)
        self._check_credentials()
        if self.ca_file is not None:
            tls_context(self.ca_file)

    def _check_credentials(self) -> None:
        if self.tls not in _TLS:
            raise InvalidValue("tls", shown(self.tls), remedy=f"one of {', '.join(_TLS)}")
        if (self.user is None) != (self.password is None):
            raise InvalidValue("user", "user and password are given together, or neither")
        if self.password is not None and self.tls == "none" and self.host not in _LOOPBACK:
            raise InvalidValue(
                "tls", "a password would go over the network in clear", remedy="tls='starttls'"
            )

    def mailboxes(self) -> tuple[Mailbox, ...]:
        """One destination for each recipient."""
        return tuple(Mailbox(self, address) for address in self.to)


@dataclass(frozen=True)
class Mailbox(Destination):
    """One recipient behind a mail server."""

    server: Email
    address: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        plain = "".join(c if c.isalnum() or c in "_.@+-" else "-" for c in self.address)
        object.__setattr__(self, "name", check_destination_name(f"email:{plain}"[:128]))

    def send(self, alert: Alert) -> None:
        from . import alert_smtp

        alert_smtp.send(self.server, self.address, alert)


def _ascii(address: str, field: str) -> str:
    """An address whose domain every mail server understands."""
    local, _, domain = check_email(address, field).rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"
