"""Replicas on a real server: policies, lost answers, crashes and convergence.

For: what only both together show. Not for: the file and the rules (see `test_replica`).
Invariant: whatever is lost or killed, counters are exact, nothing that was added is lost, and in the end all are equal.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from consort import AsyncClient, AsyncReplica, Client, ConsortError, Replica, _replica_file, models

from .server import Server

pytestmark = pytest.mark.server

POLICIES = {
    "n/": "counter",
    "s/": "set",
    "m/": "map",
    "t/": "text",
    "l/": "list",
    "w/": "last_writer_wins",
    "x/": "max",
    "a/": "agent",
}


def policies() -> list[models.StatePolicy]:
    return [models.StatePolicy(prefix=prefix, policy=policy) for prefix, policy in POLICIES.items()]


def all_of(client: Client, space: str) -> dict[str, Any]:
    return {item.key: client.get_state(space, item.key).value for item in client.list_state(space)}


class Killed(BaseException):
    """The process ends here."""


class Faults(httpx.BaseTransport):
    """A way to the server that loses requests and answers."""

    def __init__(self, fault: Callable[[str], bool]) -> None:
        """`fault` is asked before a transaction is sent, and when it was answered."""
        self._inner = httpx.HTTPTransport()
        self._fault = fault

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        is_push = request.url.path.endswith("/transact")
        if is_push and self._fault("request"):
            raise httpx.ConnectError("the request was lost")
        response = self._inner.handle_request(request)
        if is_push:
            response.read()
            if self._fault("answer"):
                response.close()
                raise httpx.ReadError("the answer was lost")
        return response

    def close(self) -> None:
        self._inner.close()


def test_two_replicas_work_offline_under_each_policy(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client:
        client.set_space("team", policies=policies())
        first: dict[str, Any] = {
            "n/visits": 10,
            "s/tags": ["a", "b"],
            "m/card": {"name": "x", "age": 1},
            "t/brief": "Ship on Friday.",
            "l/todo": ["build", "test", "ship"],
            "w/status": "idle",
            "x/score": 3,
            "a/owner": "none",
            "plan": "draft",
        }
        for key, value in first.items():
            client.put_state("team", key, value)
        ann, bob = (Replica.open(client, "team", tmp_path / name, name) for name in ("ann", "bob"))
        with ann, bob:
            assert sorted(ann.sync().changed) == sorted(first)
            bob.sync()
            assert ann.list() == bob.list() == first
            for replica, values in (
                (ann, {"m/card": {"name": "x", "age": 2}, "t/brief": "Ship on Friday, after the review."}),
                (bob, {"m/card": {"name": "y", "age": 1}, "t/brief": "Ship version 2 on Friday."}),
                (ann, {"l/todo": ["review", *first["l/todo"]], "w/status": "busy", "x/score": 7, "a/owner": "ann"}),
                (bob, {"l/todo": ["build", "ship", "tell"], "w/status": "away", "x/score": 5, "a/owner": "bob"}),
                (ann, {"plan": "ship", "new": 1}),
                (bob, {"plan": "wait", "newer": 2}),
            ):
                for key, value in values.items():
                    replica.put(key, value)
            ann.add("n/visits", 2)
            bob.add("n/visits", 3)
            ann.add_to("s/tags", "c")
            bob.add_to("s/tags", "d")
            bob.remove_from("s/tags", "a")
            report = ann.sync()
            assert sorted(report.pushed) == sorted([*first, "new"])
            assert (report.conflicts, report.changed, ann.pending()) == ([], [], [])
            report = bob.sync()
            (conflict,) = report.conflicts
            assert (conflict.key, conflict.code) == ("plan", "C0703")
            assert (conflict.base, conflict.local, conflict.server) == ("draft", "wait", "ship")
            assert bob.pending() == ["plan"]
            assert bob.get("plan") == "wait"
            ann.sync()
            merged = {
                "n/visits": 15,
                "s/tags": ["b", "c", "d"],
                "m/card": {"age": 2, "name": "y"},
                "t/brief": "Ship version 2 on Friday, after the review.",
                "l/todo": ["review", "build", "ship", "tell"],
                "w/status": "away",
                "x/score": 7,
                "a/owner": "ann",
                "plan": "ship",
                "new": 1,
                "newer": 2,
            }
            assert ann.list() == all_of(client, "team") == merged
            owner = bob.entry("a/owner")
            assert owner is not None
            assert (owner.value, owner.siblings) == ("ann", ["bob"])
            assert owner.conflict is not None
            # It is decided: for one key here, for the other at the server.
            bob.put("plan", "both")
            client.decide_conflict("team", owner.conflict, "eve", candidate=1)
            assert bob.sync().conflicts == []
            assert ann.sync().changed == ["a/owner", "plan"]
            assert ann.list() == bob.list() == all_of(client, "team") == {**merged, "plan": "both", "a/owner": "bob"}
            rejected = [one for one in client.list_conflicts("team") if one.key == "plan"]
            assert [one.settled for one in rejected] == ["rejected"]


async def test_the_replica_to_be_awaited_does_the_same(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, Any]] = []
    async with AsyncClient(server.url) as client:
        path = tmp_path / "r"
        async with AsyncReplica.open(
            client, "team", path, "r", prefix="p/", on_change=lambda key, value: seen.append((key, value))
        ) as replica:
            replica.put("p/mine", 1)
            assert (await replica.sync()).pushed == ["p/mine"]
            await client.put_state("team", "p/yours", "x" * 40_000)
            await client.put_state("team", "other", 1)
            await client.delete_state("team", "p/mine")
            report = await replica.sync()
            assert report.changed == ["p/yours", "p/mine"]
            assert sorted(seen) == [("p/mine", None), ("p/yours", "x" * 40_000)]
            assert replica.position == report.position == (await client.show_space("team")).position
            assert list(replica.list()) == ["p/yours"]


def test_a_space_that_is_not_there_and_one_that_was_made_anew(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client, Replica.open(client, "team", tmp_path / "r", "r") as replica:
        assert replica.sync().position == "0-0"
        replica.put("k", 1)
        replica.sync()
        client.delete_space("team")
        assert replica.sync().changed == ["k"]
        client.put_state("team", "k", 1)
        replica.sync()
        client.delete_space("team")
        client.put_state("team", "l", 2)
        replica.sync()
        assert replica.list() == {"l": 2}


def test_refused_keys_do_not_hold_up_the_others(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client:
        client.set_space("team", policies=policies(), max_keys=90)
        with Replica.open(client, "team", tmp_path / "r", "r") as replica:
            for number in range(100):
                replica.put(f"k/{number:03}", number)
            replica.put("n/bad", "no number")
            replica.put("n/good", 1)
            report = replica.sync()
            assert len(report.pushed) == 90
            codes = {conflict.key: conflict.code for conflict in report.conflicts}
            assert codes["n/bad"] == "C0706"
            assert set(codes.values()) == {"C0705", "C0706"}
            for key in codes:
                replica.take_server(key)
            assert replica.sync().conflicts == []
            assert replica.list() == all_of(client, "team")


def test_a_position_that_is_gone_is_listed_anew(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client, Replica.open(client, "team", tmp_path / "r", "r") as replica:
        client.set_space("team", policies=policies(), keep_changes=100)
        for key in ("n/x", "gone", "kept"):
            client.put_state("team", key, 1)
        replica.sync()
        replica.add("n/x", 5)
        replica.put("kept", 2)
        client.delete_state("team", "gone")
        for number in range(200):
            client.put_state("team", "noise", number)
        report = replica.sync()
        assert (report.conflicts, replica.pending()) == ([], [])
        assert replica.list() == all_of(client, "team") == {"kept": 2, "n/x": 6, "noise": 199}


def test_what_was_seen_is_told_where_it_is_not_kept(server: Server, tmp_path: Path) -> None:
    first = {"n/x": 10, "s/x": ["a", "b"], "m/x": {"a": 1}, "t/x": "Ship on Friday.", "l/x": ["build", "ship"]}
    with Client(server.url) as client, Replica.open(client, "team", tmp_path / "r", "r") as replica:
        client.set_space("team", policies=policies(), keep_changes=100)
        for key, value in first.items():
            client.put_state("team", key, value)
        replica.sync()
        replica.add("n/x", 5)
        replica.add_to("s/x", "c")
        replica.remove_from("s/x", "a")
        replica.put("m/x", {"a": 1, "b": 2})
        replica.put("t/x", "Ship on Friday, after the review.")
        replica.put("l/x", ["build", "test", "ship"])
        for key in first:
            seen = client.get_state("team", key)
            others = {
                "n/x": 11,
                "s/x": ["a", "b", "d"],
                "m/x": {"a": 3},
                "t/x": "Please: Ship on Friday.",
                "l/x": ["plan"],
            }
            client.put_state("team", key, others[key], version=seen.version)
        for number in range(200):
            client.put_state("team", "noise", number)
        report = replica.sync()
        client.delete_state("team", "noise")
        replica.sync()
        if "base" in client.openapi()["components"]["schemas"]["StateOperation"]["properties"]:
            assert (report.conflicts, replica.pending()) == ([], [])
            assert replica.list() == all_of(client, "team")
            merged = {key: value for key, value in replica.list().items() if key[0] in "nsm"}
            assert merged == {"n/x": 16, "s/x": ["b", "c", "d"], "m/x": {"a": 3, "b": 2}}
            assert replica.get("t/x") == "Please: Ship on Friday, after the review."
            assert replica.get("l/x") == ["plan", "test"]
        else:
            # A server that knows no bases.
            assert {conflict.code for conflict in report.conflicts} == {"C0001"}
            assert [conflict.base for conflict in report.conflicts if conflict.key == "n/x"] == [10]


def test_ten_thousand_writes_are_one(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(server.url) as client, Replica.open(client, "team", tmp_path / "r", "r") as replica:
        client.set_space("team", policies=policies())
        with monkeypatch.context() as patch:
            # The disk is what takes long here.
            patch.setattr(os, "fsync", lambda _: None)
            for _ in range(10_000):
                replica.add("n/x")
        assert (tmp_path / "r").stat().st_size < 200_000
        replica.sync()
        found = client.get_state("team", "n/x")
        assert (found.value, found.writes) == (10_000, 1)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_what_was_lost_is_done_once(server: Server, tmp_path: Path, lost: str) -> None:
    losing = {lost}
    transport = Faults(lambda what: what in losing)
    with Client(server.url) as client, Client(server.url, transport=transport) as faulty:
        client.set_space("team", policies=policies())
        client.put_state("team", "n/x", 100)
        with Replica.open(faulty, "team", tmp_path / "r", "r") as replica:
            for _ in range(3):
                replica.add("n/x", 5)
                replica.put("t/x", "mine")
                with pytest.raises(ConsortError) as away:
                    replica.sync()
                assert away.value.is_unavailable
                client.put_state("team", "n/x", 1)
                # What is written meanwhile is put on top of what the push came to.
                replica.add("n/x", 2)
                replica.put("t/x", "mine, and more")
                losing.clear()
                replica.sync()
                losing.add(lost)
                assert replica.pending() == []
                assert replica.list() == all_of(client, "team")
            assert replica.get("n/x") == 100 + 3 * (5 + 1 + 2)
            assert replica.get("t/x") == "mine, and more"


@pytest.mark.parametrize("moment", ["request", "answer"])
def test_what_is_written_during_a_push_is_put_on_top(server: Server, tmp_path: Path, moment: str) -> None:
    replicas: list[Replica] = []

    def write(what: str) -> bool:
        if what == moment and replicas:
            replica = replicas.pop()
            replica.add("n/x", 2)
            replica.add_to("s/x", "later")
            replica.put("t/x", "Ship on Friday, after lunch.")
            replica.delete("gone")
        return False

    with Client(server.url) as client, Client(server.url, transport=Faults(write)) as slow:
        client.set_space("team", policies=policies())
        client.put_state("team", "t/x", "Ship.")
        with Replica.open(slow, "team", tmp_path / "r", "r") as replica:
            replica.sync()
            replica.add("n/x", 5)
            replica.add_to("s/x", "mine")
            replica.put("t/x", "Ship on Friday.")
            replica.put("gone", 1)
            client.put_state("team", "n/x", 100)
            client.put_state("team", "s/x", ["theirs"])
            client.put_state("team", "t/x", "Please: Ship.", version=client.get_state("team", "t/x").version)
            replicas.append(replica)
            report = replica.sync()
            assert (report.conflicts, replica.pending()) == ([], [])
            expected = {
                "n/x": 107,
                "s/x": ["later", "mine", "theirs"],
                "t/x": "Please: Ship on Friday, after lunch.",
            }
            assert replica.list() == all_of(client, "team") == expected


def test_threads_write_while_another_synchronises(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client, Replica.open(client, "team", tmp_path / "r", "r") as replica:
        client.set_space("team", policies=policies())
        replica.sync()

        def add() -> None:
            for _ in range(50):
                replica.add("n/x")

        threads = [threading.Thread(target=add) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            client.put_state("team", "n/x", 0)
            replica.sync()
        replica.sync()
        assert replica.get("n/x") == client.get_state("team", "n/x").value == 150


def test_a_name_is_used_by_one_file(server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client:
        with Replica.open(client, "team", tmp_path / "old", "r") as old:
            old.put("a", 1)
            old.sync()
            copy = (tmp_path / "old").read_bytes()
            old.put("a", 2)
            old.sync()
        (tmp_path / "copy").write_bytes(copy)
        with Replica.open(client, "team", tmp_path / "copy", "r") as older:
            older.put("b", 1)
            with pytest.raises(ConsortError, match="not what this file did") as taken:
                older.sync()
            assert taken.value.code == "C0844"
        # A new file takes the name over, and the old one learns of it.
        with Replica.open(client, "team", tmp_path / "new", "r") as new:
            new.put("c", 1)
            assert new.sync().pushed == ["c"]
        with Replica.open(client, "team", tmp_path / "old", "r") as old:
            old.put("d", 1)
            with pytest.raises(ConsortError, match="not what this file did"):
                old.sync()


class Bomb:
    """Ends the process at one of the places where it may end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        write = _replica_file._write_all

        def torn_write(descriptor: int, data: bytes) -> None:
            self.tick()
            if self.left == 0:
                write(descriptor, data[: len(data) // 2])
            self.tick()
            write(descriptor, data)

        def ended_sync(_: int) -> None:
            # What was written outlives the process also where it is not on the disk.
            self.tick()

        monkeypatch.setattr(_replica_file, "_write_all", torn_write)
        monkeypatch.setattr(os, "fsync", ended_sync)

    def tick(self) -> bool:
        if self.left == 0:
            self.left = -1
            raise Killed
        self.left -= self.left > 0
        return False


def test_the_process_may_end_at_every_step(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = Bomb(monkeypatch)
    monkeypatch.setattr(_replica_file, "COMPACT_BYTES", 300)

    def adds(replica: Replica) -> None:
        replica.add("n/x")
        replica.add_to("s/x", replica.get("n/x"))

    def syncs(replica: Replica) -> None:
        replica.sync()

    with Client(server.url) as client, Client(server.url, transport=Faults(lambda _: bomb.tick())) as faulty:
        step, over = 0, False
        while not over:
            space, path = f"team-{step}", tmp_path / str(step)
            client.set_space(space, policies=policies())
            bomb.left, over = step, True
            for stage in (adds, syncs, adds, syncs):
                try:
                    # The process opens it again each time, as one does that ends after each of its works.
                    with Replica.open(faulty, space, path, "r") as replica:
                        stage(replica)
                except Killed:
                    over = False
                    _replica_file._OPEN.clear()
                if stage is syncs:
                    client.put_state(space, "n/x", 10)
            bomb.left = -1
            with Replica.open(client, space, path, "r") as replica:
                replica.sync()
                assert replica.pending() == []
                assert replica.list() == all_of(client, space), step
                # The write that was killed was done or was not.
                assert replica.get("n/x") - 20 in ({2} if over else {1, 2}), step
            step += 1
        assert step > 30


class Work:
    """Random work of three replicas, and what has to come of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - it is to be the same each time
        self.added: set[str] = set()
        self.total = 0

    def do(self, number: int, replica: Replica, step: int) -> None:
        kinds = [
            self.count,
            self.count,
            self.add,
            self.fill_in,
            self.edit,
            self.overwrite,
            self.own,
            self.sync,
            self.sync,
        ]
        self.chance.choice(kinds)(number, replica, step)

    def count(self, _: int, replica: Replica, __: int) -> None:
        amount = self.chance.randint(-5, 5)
        replica.add(f"n/{self.chance.randrange(2)}", amount)
        self.total += amount

    def add(self, _: int, replica: Replica, step: int) -> None:
        replica.add_to("s/all", str(step))
        self.added.add(str(step))

    def fill_in(self, number: int, replica: Replica, step: int) -> None:
        replica.put("m/x", {**replica.get("m/x", {}), str(number): step})

    def edit(self, _: int, replica: Replica, step: int) -> None:
        text = replica.get("t/x", "")
        place = self.chance.randint(0, len(text))
        replica.put("t/x", f"{text[:place]}<{step}>{text[place:]}")

    def overwrite(self, _: int, replica: Replica, step: int) -> None:
        replica.put("w/x", step)
        replica.put("x/x", step)

    def own(self, number: int, replica: Replica, step: int) -> None:
        if self.chance.random() < 0.5:
            replica.put(f"own/{number}", step)
        else:
            replica.delete(f"own/{number}")

    def sync(self, _: int, replica: Replica, __: int) -> None:
        # Where the server is away, it is tried again later.
        with contextlib.suppress(ConsortError):
            replica.sync()


@pytest.mark.parametrize("seed", range(6))
def test_replicas_converge(server: Server, tmp_path: Path, seed: int) -> None:
    work = Work(seed)
    transport = Faults(lambda _: work.chance.random() < 0.15)
    with Client(server.url) as client, Client(server.url, transport=transport) as faulty:
        client.set_space("team", policies=policies())
        replicas = [Replica.open(faulty, "team", tmp_path / str(n), f"r{n}") for n in range(3)]
        for step in range(150):
            number = work.chance.randrange(3)
            work.do(number, replicas[number], step)
        for replica in replicas:
            replica.close()
        replicas = [Replica.open(client, "team", tmp_path / str(n), f"r{n}") for n in range(3)]
        for replica in [*replicas, *replicas]:
            assert replica.sync().conflicts == []
        found = all_of(client, "team")
        for replica in replicas:
            assert replica.pending() == []
            assert json.dumps(replica.list(), sort_keys=True) == json.dumps(found, sort_keys=True)
            replica.close()
        assert sum(value for key, value in found.items() if key.startswith("n/")) == work.total
        assert set(found.get("s/all", [])) == work.added
