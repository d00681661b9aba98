"""CrewAI crews on a real server."""

from __future__ import annotations

from collections.abc import Callable

from tests.server import Server, Watch, Worker, wait_for

Work = Callable[..., Worker]

WHOLE = ["model researcher 0", "tool look", "model researcher 1", "model writer 0"]


def test_a_crew_with_a_tool_answers_and_is_seen_at_work(server: Server, work: Work) -> None:
    run = server.start("crewai.pair", {"topic": "rivers"})
    watch = Watch(server, run)
    worker = work("crewai")
    output = server.output(run)
    assert output == {"text": "done by writer", "usage": {"requests": 3, "input_tokens": 15, "output_tokens": 6}}
    assert worker.calls() == WHOLE
    assert {"usage": output["usage"]} in watch.documents()
    assert watch.text() == "done by researcherdone by writer"
    # Of messages that come fast only the latest is shown.
    assert any(message.startswith(("model ", "tool ", "task ", "agent ")) for message in watch.messages())


def test_a_killed_attempt_does_not_ask_again_for_what_was_recorded(server: Server, work: Work) -> None:
    run = server.start("crewai.pair", {"topic": "rivers"})
    work("crewai", die_at=4).dies()
    worker = work("crewai")
    output = server.output(run)
    # What the killed attempt took is counted, too.
    assert output == {"text": "done by writer", "usage": {"requests": 3, "input_tokens": 15, "output_tokens": 6}}
    assert worker.calls() == [*WHOLE, "model writer 0"]
    assert server.attempts(run) == 2


def test_attempts_side_by_side_do_not_mix(server: Server, work: Work) -> None:
    runs = [server.start("crewai.pair", {"topic": f"topic {number}"}) for number in range(3)]
    worker = work("crewai")
    for run in runs:
        assert server.output(run)["usage"] == {"requests": 3, "input_tokens": 15, "output_tokens": 6}
    assert sorted(worker.calls()) == sorted(WHOLE * 3)


def test_the_schemas_are_those_of_the_crew(server: Server, work: Work) -> None:
    run = server.start("crewai.typed", {"topic": "the north"})
    work("crewai")
    assert server.output(run) == {"name": "Oslo", "people": 700000}
    (capability,) = server.agent("crewai-typed")["capabilities"]
    assert set(capability["output_schema"]["properties"]) == {"name", "people"}
    assert set(capability["input_schema"]["properties"]) == {"topic"}


def test_a_vendor_that_is_down_is_tried_again_and_a_refusal_is_not(server: Server, work: Work) -> None:
    worker = work("crewai")
    limited = server.start("crewai.pair", {"topic": "limit once"})
    assert server.output(limited)["text"] == "done by writer"
    refused = server.start("crewai.pair", {"topic": "refuse"})
    assert server.ended(refused)["status"] == "failed"
    assert server.attempts(refused) == 1
    assert "model researcher 1" in worker.calls()


def test_a_cancelled_run_frees_its_place(server: Server, work: Work) -> None:
    worker = work("crewai")
    run = server.start("crewai.pair", {"topic": "hang"})
    wait_for("the question", lambda: worker.calls() == ["model researcher 0"])
    server.request("POST", f"/v1/runs/{run}/cancel", {})
    assert server.ended(run)["status"] == "cancelled"
    other = server.start("crewai.pair", {"topic": "rivers"})
    assert server.output(other)["text"] == "done by writer"
