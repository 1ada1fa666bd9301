"""Who is dead, who failed, who ended too early, and who is merely slow: watches in threads of one process."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from rgd.errors import WorkerLost
from rgd.processes import Processes
from rgd.scale import watch
from rgd.scale.watch import Watch


class Store:
    """A dictionary that is waited for, as the processes' own is."""

    def __init__(self) -> None:
        self.values, self.told = dict[str, bytes](), threading.Condition()

    def set(self, key: str, value: str) -> None:
        with self.told:
            self.values[key] = value.encode()
            self.told.notify_all()

    def set_timeout(self, timeout: timedelta) -> None:
        """It does not wait for as long."""

    def get(self, key: str) -> bytes:
        with self.told:
            assert self.told.wait_for(lambda: key in self.values, 10)
            return self.values[key]


Start = Callable[[int, int], Watch]
Group = Callable[[int], list[Watch]]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    shared = Store()
    monkeypatch.setattr(watch, "rendezvous", lambda *_, **__: iter([(shared,)]))
    monkeypatch.setattr(watch, "Finalize", lambda *_, **__: None)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    return shared


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which processes were ended; a second is long."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(watch, "GRACE", 1.0)
    monkeypatch.setattr(sys, "last_value", None, raising=False)
    return statuses


@pytest.fixture
def start(store: Store, ended: list[int]) -> Iterator[Start]:
    made: list[Watch] = []

    def one(rank: int, count: int) -> Watch:
        made.append(Watch(rank, count))
        return made[-1]

    yield one
    for each in made:
        each.lost = each.lost or "the test is over"
        close(each)
    assert until(lambda: len(ended) == len(made))  # their threads have come to their end


@pytest.fixture
def group(start: Start) -> Group:
    def together(count: int) -> list[Watch]:
        made: dict[int, Watch] = {}
        threads = [
            threading.Thread(target=lambda r=rank: made.update({r: start(r, count)}))  # type: ignore[misc]
            for rank in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return [made[rank] for rank in range(count)]

    return together


def close(one: Watch) -> None:
    """As the operating system does for a process that is killed."""
    for link in one.links:
        with suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)


def until(holds: Callable[[], Any]) -> bool:
    begun = time.monotonic()
    while not holds() and time.monotonic() - begun < 20:
        time.sleep(0.02)
    return bool(holds())


def test_who_is_left_by_a_killed_launcher_ends_at_once(
    start: Start, ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since a run that is started anew would find them at work in its folder; who has no launcher may be left."""
    monkeypatch.setattr(watch, "GRACE", 10.0)
    by_hand = start(0, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    launched = start(0, 1)
    assert not launched.lost
    monkeypatch.setattr(os, "getppid", lambda: 1)
    begun = time.monotonic()
    assert until(lambda: ended)
    assert time.monotonic() - begun < 5
    assert "launched" in launched.lost
    assert not by_hand.lost
    monkeypatch.setattr(watch, "GRACE", 1.0)


def test_the_death_of_one_is_told_to_all(group: Group, ended: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = group(3)
    close(second)
    assert until(lambda: first.lost and third.lost)
    for one in (first, third):
        assert one.lost.startswith(second.name)
        assert "killed" in one.lost
        assert "same command again" in one.lost
        with pytest.raises(WorkerLost, match="process 1 of 3"), one.together():
            pytest.fail("nobody goes on together")
    assert until(lambda: ended.count(1) >= 2)  # whatever they are at
    assert second.name in capsys.readouterr().err


def test_the_death_of_the_first_is_seen_by_the_others(group: Group) -> None:
    first, second, third = group(3)
    close(first)
    assert until(lambda: second.lost and third.lost)
    assert second.lost.startswith(first.name)


def test_one_that_fails_says_of_what(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = group(2)
    monkeypatch.setattr(sys, "last_value", ValueError("no room\nanywhere"))
    second.leave()
    assert until(lambda: first.lost)
    assert first.lost.startswith(f"{second.name} failed: ValueError: no room anywhere")


def test_an_error_of_the_notebook_before_is_none_of_the_process(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_value", ValueError("of a cell, long ago"))
    first, second = group(2)
    second.leave()
    assert until(lambda: first.ended)
    assert not first.lost


@pytest.mark.parametrize(("code", "fails"), [(0, False), (None, False), (3, True), ("why", True)])
def test_an_exit_is_judged_by_its_status(code: Any, fails: bool, group: Group) -> None:
    """What multiprocessing's children end by."""
    first, second = group(2)
    try:
        raise SystemExit(code)
    except SystemExit:
        second.leave()
    assert until(lambda: first.lost or first.ended)
    assert bool(first.lost) == fails


def test_who_ends_well_is_missed_only_where_it_is_needed(group: Group) -> None:
    first, second = group(2)
    second.leave()
    close(second)
    assert until(lambda: first.ended)
    time.sleep(2.5)
    assert not first.lost  # it works alone for longer than the others' patience

    def needing() -> None:
        with first.together():
            assert until(lambda: first.lost)
            raise RuntimeError("a connection was closed")

    with pytest.raises(WorkerLost, match=r"process 1 of 2 .* ended, and process 0 of 2 .* still needs it"):
        needing()


def test_a_connection_that_is_closed_is_explained(group: Group) -> None:
    first, second = group(2)

    def needing() -> None:
        with first.together():
            close(second)
            raise RuntimeError("Connection closed by peer")

    with pytest.raises(WorkerLost, match="process 1 of 2") as raised:
        needing()
    assert "Connection closed" in str(raised.value.__cause__)


def test_other_errors_are_left_as_they_are(group: Group) -> None:
    first, _ = group(2)
    with pytest.raises(RuntimeError, match="shapes"), first.together():
        raise RuntimeError("shapes do not fit")


def test_silence_is_no_death(group: Group, ended: list[int]) -> None:
    """Longer than any patience: a slow one's connection is open, and says nothing."""
    first, second = group(2)
    with first.together():
        time.sleep(3)
    assert not first.lost
    assert not second.lost
    assert not ended


def test_a_gone_machine_is_probed_for(group: Group) -> None:
    """Half a minute at most, where the system lets one say so."""
    for one in group(2):
        for link in one.links:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if sys.platform == "linux":
                idle, interval, count = (link.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in
                                         ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"))  # fmt: skip
                assert idle + interval * count + watch.GRACE < 60


def test_one_that_does_not_come_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "COME", 1.0)
    found: list[Exception] = []

    def first() -> None:
        try:
            Watch(0, 3)
        except WorkerLost as error:
            found.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    start(2, 3)
    thread.join(20)
    assert "no sign of process 1 of 3 within 1 s" in str(found[0])


@pytest.mark.parametrize("word", ["", "hello\n", "0123 1 I am the other\n", "é 1 x\n"])
def test_a_stranger_is_not_taken_for_a_process(word: str, store: Store, start: Start) -> None:
    made: list[Watch] = []
    thread = threading.Thread(target=lambda: made.append(start(0, 2)))
    thread.start()
    port = int(store.get("rgd/first").split()[0])
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(word.encode())
        stranger.shutdown(socket.SHUT_WR)
        second = start(1, 2)
        thread.join(20)
    assert list(made[0].links.values()) == [second.name]


def test_alone_nobody_is_watched() -> None:
    import torch

    with Processes(torch.device("cpu")).together():
        pass
