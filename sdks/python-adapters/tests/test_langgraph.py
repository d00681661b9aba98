"""LangGraph graphs on a real server."""

from __future__ import annotations

from collections.abc import Callable

from tests.server import Server, Watch, Worker, wait_for

Work = Callable[..., Worker]


def test_an_agent_with_tools_answers_and_is_seen_at_work(server: Server, work: Work) -> None:
    run = server.start("langgraph.chat", {"prompt": "use tools"})
    watch = Watch(server, run)
    worker = work("langgraph")
    output = server.output(run)
    assert output["text"] == "all done"
    assert output["usage"]["requests"] == 2
    assert output["usage"]["output_tokens"] > 0
    assert worker.calls() == ["model 1", "tool quick", "tool slow", "model 4"]
    assert watch.text() == "all done"
    assert {"usage": output["usage"]} in watch.documents()
    # Of messages that come fast only the latest is shown.
    assert any(message.startswith(("model ", "tool ", "node ")) for message in watch.messages())


def test_a_killed_attempt_does_not_ask_again_for_what_was_recorded(server: Server, work: Work) -> None:
    run = server.start("langgraph.chat", {"prompt": "use tools"})
    work("langgraph", die_at=4).dies()
    worker = work("langgraph")
    output = server.output(run)
    assert output["text"] == "all done"
    assert output["usage"]["requests"] == 2
    # The last question was put, but not answered; only it is put again.
    assert worker.calls() == ["model 1", "tool quick", "tool slow", "model 4", "model 4"]
    assert server.attempts(run) == 2


def test_tools_side_by_side_are_recorded_each_by_itself(server: Server, work: Work) -> None:
    run = server.start("langgraph.chat", {"prompt": "use tools"})
    # Killed in the slow tool, when the quick one, which was begun later, is recorded or not: either is sound.
    work("langgraph", die_at=3).dies()
    worker = work("langgraph")
    assert server.output(run)["text"] == "all done"
    calls = worker.calls()
    assert calls.count("model 1") == 1
    assert calls.count("model 4") == 1


def test_nodes_side_by_side_are_recorded_and_so_are_single_answers(server: Server, work: Work) -> None:
    run = server.start("langgraph.fan", {"topic": "x"})
    watch = Watch(server, run)
    # Killed in the second question of the right node, after the left node is recorded.
    work("langgraph", die_at=3).dies()
    worker = work("langgraph")
    assert server.output(run) == {"findings": [{"text": "LEFT"}, {"text": "FIRST SECOND"}]}
    assert worker.calls() == ["model left", "model first", "model second", "model second"]
    assert watch.documents().count({"custom": {"planned": "x"}}) == 1
    (capability,) = server.agent("langgraph-fan")["capabilities"]
    assert set(capability["input_schema"]["properties"]) == {"topic"}
    assert set(capability["output_schema"]["properties"]) == {"findings"}


def test_an_interrupt_is_an_approval_and_survives_a_kill(server: Server, work: Work) -> None:
    run = server.start("langgraph.review", {})
    worker = work("langgraph")
    server.decide(run, "publish?", "approve")
    server.waits_for(run, "really?")
    worker.stop()
    work("langgraph")
    server.decide(run, "really?", "reject")
    assert server.output(run) == {"text": "DRAFT", "verdict": "True False"}
    assert worker.calls() == ["model draft"]


def test_a_rate_limit_is_tried_again_and_a_refusal_is_not(server: Server, work: Work) -> None:
    worker = work("langgraph")
    limited = server.start("langgraph.chat", {"prompt": "limit once"})
    assert server.output(limited)["text"] == "all done"
    assert server.attempts(limited) == 2
    refused = server.start("langgraph.chat", {"prompt": "refuse"})
    assert server.ended(refused)["status"] == "failed"
    assert server.attempts(refused) == 1
    assert worker.calls().count("model 1") == 3


def test_a_cancelled_run_stops_the_model(server: Server, work: Work) -> None:
    worker = work("langgraph")
    run = server.start("langgraph.chat", {"prompt": "hang"})
    wait_for("the question", lambda: worker.calls() == ["model 1"])
    server.request("POST", f"/v1/runs/{run}/cancel", {})
    assert server.ended(run)["status"] == "cancelled"
    wait_for("the cancellation", lambda: worker.calls() == ["model 1", "cancelled"])
