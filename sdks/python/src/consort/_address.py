"""The address of a server, which workers and clients share.

For: `http://127.0.0.1:7878`, `https://consort.example`, or `HOST:PORT` alone. Not for: opening connections.
Invariant: one text means the same server for gRPC and for HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from consort._errors import Code, ConsortError

DEFAULT_PORT: Final = 7878
"""The port of a server by default."""
DEFAULT_ADDRESS: Final = f"http://127.0.0.1:{DEFAULT_PORT}"
"""Where a server listens by default."""

_PORTS: Final = {"": DEFAULT_PORT, "grpc": DEFAULT_PORT, "http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    """The host with its port, such as `127.0.0.1:7878`."""
    is_secure: bool
    """Whether TLS is spoken."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address in a text. Without a scheme it is `http`, and without a port too that of Consort; a URL without a
        port has that of its scheme.

        Raises `ConsortError` where it is none.
        """
        # A listener for workers alone is printed with `grpc`, which speaks over HTTP too.
        parts = urlsplit(text.replace("grpc:", "http:", 1) if "://" in text else f"http://{text}")
        try:
            port = parts.port or _PORTS.get(text.partition("://")[0] if "://" in text else "", 0)
        except ValueError:
            port = 0
        rest = (parts.path.rstrip("/"), parts.query, parts.fragment, parts.username)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not port or any(rest):
            raise ConsortError(
                f"`{text}` is no address of a server", code=Code.BAD_REQUEST, hint=f"one looks like `{DEFAULT_ADDRESS}`"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{host}:{port}", parts.scheme == "https")

    @property
    def url(self) -> str:
        """As a URL without a slash at its end."""
        return f"{'https' if self.is_secure else 'http'}://{self.host}"
