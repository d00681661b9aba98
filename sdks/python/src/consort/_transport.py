"""The wire: channels, authentication, and errors as gRPC carries them.

For: workers. Not for: the messages on a stream.
Invariant: whatever gRPC raises leaves here as a `ConsortError` with a stable code.
"""

from __future__ import annotations

from typing import Any, Final

import grpc

from consort._address import Address
from consort._errors import Code, ConsortError
from consort._proto.v1.common_pb2 import Error

PROTOCOL: Final = 1
"""The version of the worker protocol."""

_ERROR_KEY: Final = "consort-error-bin"

_OPTIONS: Final = (
    # Documents have their own limit, far above gRPC's.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection that leads nowhere is noticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Pauses between connections are ours to choose.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_CODES: Final = {
    grpc.StatusCode.UNAVAILABLE: Code.UNREACHABLE,
    grpc.StatusCode.CANCELLED: Code.UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Code.UNREACHABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.OVERLOADED,
    grpc.StatusCode.UNAUTHENTICATED: Code.DENIED,
    grpc.StatusCode.PERMISSION_DENIED: Code.DENIED,
    grpc.StatusCode.INVALID_ARGUMENT: Code.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: Code.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: Code.BAD_REQUEST,
    grpc.StatusCode.UNIMPLEMENTED: Code.BAD_REQUEST,
}

_AWAY: Final = "check the address, and that `consort up` runs"
_NO_WORKERS: Final = "`consort up` prints where it takes workers, such as `grpc://127.0.0.1:7879`; see `grpc-listen`"
_MISTAKES: Final = {
    "wrong_version_number": "the server does not speak TLS there: write `http://` in place of `https://`",
    "http/2": "something else than Consort listens there, or TLS is spoken there (`https://`)",
    "http1": "something else than Consort listens there, or TLS is spoken there (`https://`)",
    "socket closed": "where it never succeeds: does something else listen there, or is TLS spoken there (`https://`)?",
}
"""What a broken connection says of the address, by the words of gRPC."""


def open_channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A channel to the server; nothing is sent before the first call."""
    options = list(_OPTIONS)
    found = Address.parse(address)
    if credentials is None and not found.is_secure:
        return grpc.insecure_channel(found.host, options=options)
    return grpc.secure_channel(found.host, credentials or grpc.ssl_channel_credentials(), options=options)


def metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What each call carries."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def error_of(code: grpc.StatusCode | None, details: str | None, trailing: Any, address: str) -> ConsortError:
    """What the status of a call that failed means."""
    for key, value in trailing or ():
        if key == _ERROR_KEY:
            found = Error.FromString(value)
            return ConsortError(found.message, code=found.code or Code.INTERNAL, hint=found.hint)
    name = code.name.lower().replace("_", " ") if code else "unknown"
    known = _CODES.get(code, Code.INTERNAL) if code else Code.UNREACHABLE
    text = " ".join((details or name).split())
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConsortError(f"no workers are taken at `{address}`: {text}", code=known, hint=_NO_WORKERS)
    if known == Code.UNREACHABLE:
        hint = next((hint for sign, hint in _MISTAKES.items() if sign in text.lower()), _AWAY)
        return ConsortError(f"the server at `{address}` cannot be reached: {text}", code=known, hint=hint)
    return ConsortError(f"the server at `{address}` answered `{name}`: {text}", code=known)


def rpc_error(error: Any, address: str) -> ConsortError:
    """What a call that failed means; gRPC raises it as the call itself."""
    return error_of(error.code(), error.details(), error.trailing_metadata(), address)
