"""Pydantic AI agents on a real server."""

from __future__ import annotations

from collections.abc import Callable

from tests.server import Server, Watch, Worker, wait_for

Work = Callable[..., Worker]


def test_an_agent_with_tools_answers_and_is_seen_at_work(server: Server, work: Work) -> None:
    run = server.start("pydantic.chat", {"prompt": "use tools"})
    watch = Watch(server, run)
    worker = work("pydantic_ai")
    output = server.output(run)
    assert output["text"] == "all done"
    assert output["usage"]["requests"] == 2
    assert output["usage"]["output_tokens"] > 0
    assert worker.calls() == ["model 1", "tool quick", "tool slow", "model 3"]
    assert watch.text() == "all done"
    assert {"usage": output["usage"]} in watch.documents()
    # Of messages that come fast only the latest is shown.
    assert any(message.startswith(("model ", "tool ")) for message in watch.messages())


def test_a_killed_attempt_does_not_ask_again_for_what_was_recorded(server: Server, work: Work) -> None:
    run = server.start("pydantic.chat", {"prompt": "use tools"})
    work("pydantic_ai", die_at=4).dies()
    worker = work("pydantic_ai")
    output = server.output(run)
    assert output["text"] == "all done"
    assert output["usage"]["requests"] == 2
    # The last question was put, but not answered; only it is put again.
    assert worker.calls() == ["model 1", "tool quick", "tool slow", "model 3", "model 3"]
    assert server.attempts(run) == 2


def test_tools_side_by_side_are_recorded_each_by_itself(server: Server, work: Work) -> None:
    run = server.start("pydantic.chat", {"prompt": "use tools"})
    # Killed in the slow tool, when the quick one, which was begun later, is recorded or not: either is sound.
    work("pydantic_ai", die_at=3).dies()
    worker = work("pydantic_ai")
    assert server.output(run)["text"] == "all done"
    calls = worker.calls()
    assert calls.count("model 1") == 1
    assert calls.count("model 3") == 1


def test_tools_may_call_other_capabilities_and_are_answered_by_the_journal(server: Server, work: Work) -> None:
    run = server.start("pydantic.chat", {"prompt": "call others"})
    work("pydantic_ai", die_at=5).dies()
    worker = work("pydantic_ai")
    assert server.output(run)["text"] == "A B C"
    assert worker.calls() == ["model 1", "tool quick", "call b", "call c", "model 3", "model 3"]


def test_a_tool_that_needs_an_approval_waits_for_a_person_and_survives_a_kill(server: Server, work: Work) -> None:
    run = server.start("pydantic.chat", {"prompt": "ask a person"})
    worker = work("pydantic_ai")
    server.decide(run, "rent", "approve")
    server.waits_for(run, "toys")
    worker.stop()
    work("pydantic_ai")
    server.decide(run, "toys", "reject")
    text = server.output(run)["text"]
    assert text.startswith("paid rent ")
    assert "paid toys" not in text
    assert worker.calls() == ["model 1", "tool pay rent", "model 3"]


def test_the_schema_is_that_of_the_output_type(server: Server, work: Work) -> None:
    run = server.start("pydantic.typed", {"prompt": "which city"})
    work("pydantic_ai")
    assert server.output(run) == {"name": "Oslo", "people": 700000}
    (capability,) = server.agent("pydantic-typed")["capabilities"]
    assert set(capability["output_schema"]["properties"]) == {"name", "people"}
    assert set(capability["input_schema"]["properties"]) == {"prompt"}


def test_a_rate_limit_is_tried_again_and_a_refusal_is_not(server: Server, work: Work) -> None:
    worker = work("pydantic_ai")
    limited = server.start("pydantic.chat", {"prompt": "limit once"})
    assert server.output(limited)["text"] == "all done"
    assert server.attempts(limited) == 2
    refused = server.start("pydantic.chat", {"prompt": "refuse"})
    assert server.ended(refused)["status"] == "failed"
    assert server.attempts(refused) == 1
    assert worker.calls().count("model 1") == 3


def test_a_cancelled_run_stops_the_model(server: Server, work: Work) -> None:
    worker = work("pydantic_ai")
    run = server.start("pydantic.chat", {"prompt": "hang"})
    wait_for("the question", lambda: worker.calls() == ["model 1"])
    server.request("POST", f"/v1/runs/{run}/cancel", {})
    assert server.ended(run)["status"] == "cancelled"
    wait_for("the cancellation", lambda: worker.calls() == ["model 1", "cancelled"])
