"""The rules of a replica, its file and its lock, without a server.

For: what is decided without sending anything. Not for: policies and lost answers (see `test_replica_server`).
Invariant: what a file holds is what a replica had when its last write returned.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consort import ConsortError, Replica, _replica_file
from consort._replica_file import decode, encode
from consort._replica_merge import rebase, splice
from consort._replica_state import Arrival, ReplicaState

FIXTURES = Path(__file__).resolve().parents[2] / "replicas"


def opened(path: Path, **options: Any) -> Replica:
    return Replica.open(None, "team", path, "laptop", **options)


def begun() -> ReplicaState:
    state = ReplicaState()
    header = {"format": 1, "space": "s", "name": "n", "prefix": ""}
    state.fold({"meta": {**header, "at": {"position": "1-0"}}})
    return state


def test_local_writes_are_seen_and_survive(tmp_path: Path) -> None:
    with opened(tmp_path / "r") as replica:
        assert replica.get("plan") is None
        replica.put("plan", {"goal": "ship"})
        replica.put("nothing", None)
        assert replica.add("visits", 2) == 2
        assert replica.add("visits") == 3
        replica.add_to("tags", "a", "b", "a")
        replica.remove_from("tags", "a", "c")
        replica.put("gone", 1)
        replica.delete("gone")
    with opened(tmp_path / "r") as replica:
        assert replica.list() == {"nothing": None, "plan": {"goal": "ship"}, "tags": ["b"], "visits": 3}
        assert replica.list("p") == {"plan": {"goal": "ship"}}
        assert replica.pending() == ["nothing", "plan", "tags", "visits"]
        found = replica.entry("plan")
        assert found is not None
        assert (found.version, found.pending) == (0, True)
        assert replica.entry("gone") is None
        replica.get("plan")["goal"] = "changed outside"
        assert replica.get("plan") == {"goal": "ship"}
        replica.take_server("plan")
        assert replica.entry("plan") is None


def test_what_is_no_write_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "r", prefix="a/") as replica:
        for key in ("", "a/" + "x" * 511, "a/\n", "b/x"):
            with pytest.raises(ConsortError, match="key"):
                replica.put(key, 1)
        replica.put("a/x", "text")
        with pytest.raises(ConsortError, match="not a whole number"):
            replica.add("a/x")
        with pytest.raises(ConsortError, match="not a list"):
            replica.add_to("a/x", 1)
        with pytest.raises(ConsortError, match="JSON"):
            replica.put("a/y", float("nan"))
    with pytest.raises(ConsortError, match="name"):
        Replica.open(None, "team", tmp_path / "s", "a/b")


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_tail_counts_as_not_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "r"
    with opened(path) as replica:
        replica.put("a", 1)
        replica.put("b", 2)
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    with opened(path) as replica:
        assert replica.list() == {"a": 1}
        replica.put("c", 3)
    with opened(path) as replica:
        assert replica.list() == {"a": 1, "c": 3}


def test_zeros_behind_the_last_line_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with opened(path) as replica:
        replica.put("a", 1)
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    with opened(path) as replica:
        assert replica.list() == {"a": 1}


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with opened(path) as replica:
        replica.put("a", 1)
        replica.put("b", 2)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"a"', b'"A"'))
    with pytest.raises(ConsortError, match="line 2 does not fit") as damaged:
        opened(path)
    assert damaged.value.code == "C0843"
    path.write_bytes(encode({"meta": {"format": 2}}))
    with pytest.raises(ConsortError, match="format is `2`"):
        opened(path)
    path.write_bytes(b"")
    with pytest.raises(ConsortError, match="format"):
        opened(path)


def test_a_file_is_of_one_replica_and_open_once(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with opened(path) as replica:
        with pytest.raises(ConsortError, match=f"open in process `{os.getpid()}`") as taken:
            opened(path)
        assert taken.value.code == "C0844"
        replica.put("a", 1)
    with pytest.raises(ConsortError, match="closed"):
        replica.put("a", 2)
    with pytest.raises(ConsortError, match="with the prefix ``, not `a/`"):
        opened(path, prefix="a/")


HOLDER = """
import sys
from consort import Replica
replica = Replica.open(None, "team", sys.argv[1], "laptop")
replica.put("a", 1)
print("open", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(ConsortError, match=f"process `{holder.pid}`"):
            opened(path)
        holder.kill()
    with opened(path) as replica:
        assert replica.get("a") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_the_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    lock = tmp_path / "r.lock"
    lock.write_text(json.dumps({"process": 1, "host": "elsewhere"}))
    with pytest.raises(ConsortError, match="process `1`"):
        opened(tmp_path / "r")
    lock.write_text("")
    with opened(tmp_path / "r"):
        pass


def test_the_file_is_compacted(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with opened(path) as replica:
        for number in range(300):
            replica.put("large", [number, "x" * 1000])
        assert path.stat().st_size < 2 * _replica_file.COMPACT_BYTES + 2000
    with opened(path) as replica:
        assert replica.get("large")[0] == 299


def test_a_write_that_failed_closes_the_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError("disk failed")

    with opened(tmp_path / "r") as replica:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            with pytest.raises(OSError, match="disk failed"):
                replica.put("a", 1)
        with pytest.raises(ConsortError, match="could not be written before"):
            replica.put("a", 1)
        assert replica.get("a") is None


@pytest.mark.parametrize("case", json.loads((FIXTURES / "rebase.json").read_text()), ids=lambda case: case["name"])
def test_a_write_during_a_push_is_put_on_top_of_its_outcome(case: dict[str, Any]) -> None:
    found = rebase(case["policy"], case["sent"], case["later"], case.get("made"), case["version"])
    assert found == case["left"]


def test_splices_keep_what_both_inserted() -> None:
    assert "".join(splice("abc", "aXbc", "abcY")) == "aXbcY"
    assert "".join(splice("abc", "abYc", "Xabc")) == "XabYc"
    assert "".join(splice("abc", "aXc", "aYc")) == "aYXc"
    assert "".join(splice("abc", "", "abc")) == ""
    assert "".join(splice("", "X", "Y")) == "YX"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.replica")), ids=lambda path: path.stem)
def test_files_of_every_sdk_are_read(path: Path) -> None:
    state = ReplicaState()
    for text in path.read_bytes().split(b"\n")[:-1]:
        line = decode(text)
        assert line is not None
        state.fold(line)
    expected = json.loads(path.with_suffix(".json").read_text())
    assert {"meta": state.meta, "rows": state.rows} == expected


def test_a_push_whose_seen_version_is_gone_is_sent_with_what_was_seen() -> None:
    state = ReplicaState()
    state.fold({"meta": {"format": 1, "space": "s", "name": "n", "prefix": "", "at": {"position": "1-0"}}})
    state.fold(state.listed([Arrival("k", 7, {"version": 7, "value": 10})], {"position": "7-1"}))
    state.fold(state.write("k", {"value": 12}))
    state.fold(state.listed([Arrival("k", 900, {"version": 900, "value": 50})], {"position": "900-1"}))
    state.policies = [{"prefix": "", "policy": "counter"}]
    state.fold(state.begin_push("id", set(), {}))
    put = {"op": "put", "space": "s", "key": "k", "version": 7, "value": 12}
    assert state.request()["do"][1] == put
    state.fold(state.refused("C0704", "gone"))
    state.fold(state.begin_push("id", set(), {}))
    assert state.request()["do"][1] == {**put, "base": 10}
    state.fold(state.refused("C0704", "gone"))
    assert state.rows["k"]["conflict"]["code"] == "C0704"
    assert state.begin_push("id", set(), {}) == {}
    # A program that decides has seen what is there.
    state.fold(state.write("k", {"value": 52}))
    assert state.rows["k"]["pending"] == {"version": 900, "value": 52}


def test_writes_of_one_key_are_one_delta() -> None:
    state = ReplicaState()
    state.fold({"meta": {"format": 1, "space": "s", "name": "n", "prefix": "", "at": {"position": "1-0"}}})
    for number in range(10_000):
        state.fold(state.write("k", {"value": number}))
    state.fold(state.begin_push("id", set(), {}))
    assert [one["value"] for one in state.request()["do"][1:]] == [9_999]
