"""The clients, on a server that a function plays.

For: how operations become requests, and answers values, errors and events. Not for: what the server does.
Invariant: the client that blocks and the one that does not are held to the same.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from consort import AsyncClient, Client, Code, ConsortError, RunFailed, models
from consort._address import Address
from consort._documents import adapter
from consort._errors import TaskError
from consort._spans import Duration, span_text

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "openapi.json"

RUN = "01J8Z3K4M5N6P7Q8R9S0T1V2W3"

Asked = list[httpx.Request]


def playing(*answers: httpx.Response | Exception, **settings: Any) -> tuple[Client, Asked]:
    """A client whose server gives these answers, and what it was asked."""
    left, asked = iter(answers), Asked()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return Client(transport=httpx.MockTransport(answer), **settings), asked


def good(document: Any = None) -> httpx.Response:
    return httpx.Response(204) if document is None else httpx.Response(200, json=document)


def events(*parts: str, broken: bool = False) -> httpx.Response:
    """A stream of events, which may break off."""

    def stream() -> Iterator[bytes]:
        yield from (part.encode() for part in parts)
        if broken:
            raise httpx.ReadError("reset")

    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream())


def entry(cursor: str) -> str:
    data = {"cursor": cursor, "time": "2026-11-22T10:00:00.000Z", "event": "run_paused"}
    return f"event: entry\nid: {cursor}\ndata: {json.dumps(data)}\n\n"


def run(status: str, **more: Any) -> dict[str, Any]:
    document = {
        "run": RUN,
        "namespace": "default",
        "workflow": "w",
        "revision": 1,
        "hash": "00",
        "status": status,
        "paused": False,
        "priority": 0,
        "started_at": "2026-11-22T10:00:00.000Z",
        "steps": 1,
        "changed": 7,
        "input": {},
    }
    return {**document, **more}


def ended(status: str, **more: Any) -> dict[str, Any]:
    return run(status, ended_at="2026-11-22T10:01:00.000Z", **more)


# The table.


def test_every_operation_has_a_method_in_both_clients_and_in_runs() -> None:
    if not DOCUMENT.exists():
        pytest.skip("the document of the interface is not here")
    operations = {
        operation["operationId"]: path
        for path, methods in json.loads(DOCUMENT.read_text())["paths"].items()
        for operation in methods.values()
    }
    assert len(operations) > 50
    for name, path in operations.items():
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        blocking, other = getattr(Client, method), getattr(AsyncClient, method)
        assert list(inspect.signature(blocking).parameters) == list(inspect.signature(other).parameters)
        assert not inspect.iscoroutinefunction(blocking)
        assert blocking.__doc__ == other.__doc__
        if "{run}" in path:
            assert "run" in inspect.signature(blocking).parameters


def test_a_run_has_what_can_be_asked_of_one() -> None:
    methods = "show tree steps history watch cancel pause resume signal retry fork delete replay compare"
    for method in methods.split():
        assert callable(getattr(Client().run(RUN), method))
        assert callable(getattr(AsyncClient().run(RUN), method))


# Requests.


def test_parameters_stand_where_the_table_says() -> None:
    client, asked = playing(
        good({"items": []}), good(), good({"run": RUN, "deduplicated": False}), good(), namespace="a b", token="hush"
    )
    assert client.list_runs(label={"team": "a/b", "x": "1"}, status=["failed", "running"], children=True).all() == []
    client.remove_quota("key:tenant 7/x")
    client.start_run("w", idempotency_key="order-7")
    client.weigh_agent("writer", "1.0+b", weight=3)
    assert [str(request.url).removeprefix("http://127.0.0.1:7878") for request in asked] == [
        "/v1/runs?namespace=a%20b&children=true&label.team=a%2Fb&label.x=1&status=failed%2Crunning",
        "/v1/quotas/key%3Atenant%207%2Fx?namespace=a%20b",
        "/v1/runs?namespace=a%20b",
        "/v1/agents/writer/weight?namespace=a%20b&version=1.0%2Bb",
    ]
    assert [request.method for request in asked] == ["GET", "DELETE", "POST", "POST"]
    assert {request.headers["authorization"] for request in asked} == {"Bearer hush"}
    assert asked[2].headers["idempotency-key"] == "order-7"
    assert json.loads(asked[3].content) == {"weight": 3}


def test_fields_that_are_not_given_are_left_out_and_documents_stay_as_they_are() -> None:
    class Wish(BaseModel):
        """A document of a caller's own."""

        item: str
        size: int | None = None

    client, asked = playing(*[good({"run": RUN, "deduplicated": True})] * 2, *[good()] * 2, *[good({})] * 2)
    assert client.start_run("w", input={"a": None}, timeout=90).deduplicated
    client.start_run("w", input=Wish(item="tea"), timeout=timedelta(milliseconds=1500))
    client.set_quota("namespace", rate=models.Rate(tasks=2, per=timedelta(minutes=1)))
    client.set_retention(None)
    client.signal_run(RUN, "go")
    client.signal_run(RUN, "go", {"b": 1, "a": None})
    assert [json.loads(request.content) for request in asked] == [
        {"workflow": "w", "input": {"a": None}, "timeout": "1m30s"},
        {"workflow": "w", "input": {"item": "tea", "size": None}, "timeout": "1s500ms"},
        {"rate": {"tasks": 2, "per": "1m"}},
        {"keep": None},
        None,
        {"b": 1, "a": None},
    ]


def test_what_is_no_json_is_not_sent() -> None:
    client, asked = playing()
    with pytest.raises(ConsortError) as error:
        client.start_run("w", input={"n": float("nan")})
    assert (error.value.code, asked) == (Code.BAD_JSON, [])


# Answers.


def test_listings_go_on_by_themselves() -> None:
    def page(names: str, following: str | None) -> httpx.Response:
        items = [{"name": n, "description": "", "hash": "", "source": "", "revision": 1, "newest": 1} for n in names]
        items = [{**item, "deployed_at": "2026-11-22T10:00:00.000Z"} for item in items]
        return good({"items": items, "next": following})

    client, asked = playing(page("ab", "c1"), page("", "c2"), page("c", None))
    assert [flow.name for flow in client.list_workflows(limit=2)] == ["a", "b", "c"]
    assert [request.url.params.get("cursor") for request in asked] == [None, "c1", "c2"]
    client, _ = playing(page("ab", "c1"))
    first = next(client.list_workflows().pages())
    assert ([flow.name for flow in first.items], first.next) == (["a", "b"], "c1")


def test_answers_have_values_of_python_and_a_newer_server_is_understood() -> None:
    client, _ = playing(good(run("resting", labels={"a": "b"}, news=1, deadline="2026-11-22T11:00:00.000Z")))
    found = client.show_run(RUN)
    assert (found.status, found.labels, found.ended_at) == ("resting", {"a": "b"}, None)
    assert found.started_at.isoformat() == "2026-11-22T10:00:00+00:00"


def test_refusals_keep_their_code_and_what_else_they_say() -> None:
    finding = {"severity": "error", "code": "no-steps", "message": "m", "line": 1, "column": 1, "start": 0, "end": 1}
    problem = {"type": "/v1/errors/C0101", "title": "t", "status": 422, "detail": "broken", "code": "C0101"}
    client, _ = playing(
        httpx.Response(422, json={**problem, "hint": "mend it", "diagnostics": [finding]}),
        httpx.Response(502, text="<html>"),
        httpx.ConnectError("refused"),
        good({"items": 7}),
    )
    with pytest.raises(ConsortError) as refused:
        client.deploy_workflow("x")
    assert (refused.value.code, refused.value.message, refused.value.hint) == ("C0101", "broken", "mend it")
    assert [found.code for found in refused.value.diagnostics] == ["no-steps"]
    for code in (Code.UNREACHABLE, Code.UNREACHABLE, Code.INTERNAL):
        with pytest.raises(ConsortError) as other:
            client.list_queues()
        assert other.value.code == code


# Events.


def test_a_watch_goes_on_behind_the_last_event_that_was_seen() -> None:
    end = f"event: end\nid: end\ndata: {json.dumps(ended('completed'))}\n\n"
    client, asked = playing(
        events(": hello\n\n", entry("4-0"), "event: news\ndata: 7\n\n", broken=True),
        httpx.ConnectError("refused"),
        events(),
        events(entry("5-0"), end),
    )
    found = list(client.run(RUN).watch(after="3-0"))
    assert [event.cursor for event in found if isinstance(event, models.HistoryEntry)] == ["4-0", "5-0"]
    assert isinstance(found[-1], models.Run)
    assert [request.headers.get("last-event-id") for request in asked] == [None, "4-0", "4-0", "4-0"]
    assert asked[0].url.params["after"] == "3-0"


def test_a_watch_ends_where_nothing_follows_and_fails_where_trying_again_is_of_no_use() -> None:
    problem = {"type": "", "title": "", "status": 404, "detail": "none", "code": "C0201"}
    client, _ = playing(
        httpx.Response(204),
        httpx.Response(404, json=problem),
        events(f"event: error\ndata: {json.dumps(problem)}\n\n"),
    )
    assert list(client.watch_run(RUN)) == []
    for _ in range(2):
        with pytest.raises(ConsortError) as error:
            list(client.watch_run(RUN))
        assert error.value.code == Code.RUN_NOT_FOUND


def test_a_watch_gives_up_after_the_reconnect_timeout() -> None:
    client, asked = playing(events(entry("4-0")), *[httpx.ConnectError("refused")] * 9, reconnect_timeout=0)
    watch = client.watch_run(RUN)
    assert isinstance(next(watch), models.HistoryEntry)
    with pytest.raises(ConsortError) as error:
        list(watch)
    assert error.value.code == Code.UNREACHABLE
    assert len(asked) < 9


def test_a_large_event_comes_whole() -> None:
    text = "ü" * 2_000_000
    said = {"run": RUN, "step": "s", "attempt": 1, "kind": "text", "text": text}
    data = f"event: progress\ndata: {json.dumps(said, ensure_ascii=False)}\n\n".encode()
    parts = [data[at : at + 65_537] for at in range(0, len(data), 65_537)]
    headers = {"content-type": "text/event-stream"}
    client, _ = playing(httpx.Response(200, headers=headers, content=iter(parts)), httpx.Response(204))
    (found,) = client.watch_run(RUN)
    assert isinstance(found, models.Progress)
    assert found.text == text


# Results.


def test_the_result_is_waited_for_and_read_in_full() -> None:
    client, asked = playing(good(run("running")), httpx.ReadError("reset"), good(ended("completed")), good({"n": 3}))
    assert client.run(RUN).result(dict[str, int]) == {"n": 3}
    assert [request.url.path.removeprefix("/v1/runs/" + RUN) for request in asked] == ["", "", "", "/output"]
    assert asked[0].url.params["wait"] == "30s"


def test_a_run_that_failed_raises_its_own_error() -> None:
    error = {"code": "C0304", "message": "no such page", "hint": "look"}
    client, _ = playing(good(ended("failed", error=error)), good(ended("cancelled")))
    with pytest.raises(RunFailed) as failed:
        client.run(RUN).result()
    assert (failed.value.code, failed.value.message, failed.value.run.status) == ("C0304", "no such page", "failed")
    with pytest.raises(RunFailed) as cancelled:
        client.run(RUN).result()
    assert cancelled.value.code == Code.CANCELLED


async def test_the_client_that_does_not_block_does_the_same() -> None:
    end = f"event: end\nid: end\ndata: {json.dumps(ended('completed'))}\n\n"

    async def stream() -> Any:
        yield entry("4-0").encode()
        yield end.encode()

    answers = iter(
        [
            good({"run": RUN, "deduplicated": False}),
            httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream()),
            good(ended("completed")),
            good("out"),
            good({"items": [], "next": "more"}),
            good({"items": [run("running")]}),
        ]
    )
    async with AsyncClient(transport=httpx.MockTransport(lambda _: next(answers))) as client:
        started = await client.start_run("w")
        found = [event async for event in started.watch()]
        assert isinstance(found[0], models.HistoryEntry)
        assert isinstance(found[1], models.Run)
        assert await started.result(str) == "out"
        assert [listed.run async for listed in client.list_runs()] == [RUN]


# Values.


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0s", timedelta()),
        ("250ms", timedelta(milliseconds=250)),
        ("1h30m", timedelta(minutes=90)),
        ("2d1s1us", timedelta(days=2, seconds=1, microseconds=1)),
    ],
)
def test_spans_are_written_and_read(text: str, span: timedelta) -> None:
    assert span_text(span) == text
    assert adapter(Duration).validate_python(text) == span


@pytest.mark.parametrize("text", ["", "1", "h", "1h 2m", "-1s", "1.5s"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="span"):
        adapter(Duration).validate_python(text)
    with pytest.raises(TaskError):
        span_text(-1)


@pytest.mark.parametrize(
    ("text", "host", "secure"),
    [
        ("http://127.0.0.1:7878", "127.0.0.1:7878", False),
        ("127.0.0.1:7878", "127.0.0.1:7878", False),
        ("grpc://127.0.0.1:7879", "127.0.0.1:7879", False),
        ("localhost", "localhost:7878", False),
        ("consort.example", "consort.example:7878", False),
        ("[::1]", "[::1]:7878", False),
        ("grpc://localhost", "localhost:7878", False),
        ("http://consort.example", "consort.example:80", False),
        ("https://consort.example/", "consort.example:443", True),
        ("http://[::1]:7878", "[::1]:7878", False),
    ],
)
def test_one_address_serves_workers_and_clients(text: str, host: str, secure: bool) -> None:
    found = Address.parse(text)
    assert (found.host, found.is_secure) == (host, secure)


@pytest.mark.parametrize("text", ["", "ftp://x:1", "http://", "http://x:y", "http://x:1/path", "http://u@x:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    make: Callable[..., Any] = Client
    with pytest.raises(ConsortError) as error:
        make(text)
    assert error.value.code == Code.BAD_REQUEST
