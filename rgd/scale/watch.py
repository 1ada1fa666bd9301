"""Who of the processes of a run still lives, on whatever machines.

Each holds a connection to the first one. The operating system closes it when a process dies, of whatever, and answers
for one that is merely slow, which so is never taken for dead; where a machine is gone, nobody answers its probes. What
the first one learns it tells the others, and all end. So do those whose launcher is killed, before it is started anew.
"""

from __future__ import annotations

import math
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.util import Finalize

from torch.distributed import rendezvous

from rgd.errors import WorkerLost

COME, ANSWER = 300.0, 20.0  # seconds within which all must be here, and within which a launcher that lives answers
PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}  # after 30 s without an answer a machine is gone
GRACE = 15.0  # seconds for this process to end by itself, once another is lost
ADVICE = "What was saved is valid: see to that one, and give the same command again, for as many processes as there are"


class Watch:
    """Over the other processes, from this one's first moment. WorkerLost if one does not come."""

    def __init__(self, rank: int, count: int) -> None:
        self.name = f"process {rank} of {count} (pid {os.getpid()} on {socket.gethostname()})"
        self.lost, self.news, self.ended = "", threading.Event(), dict[str, float]()
        self.needed_since, self.earlier_error = math.inf, getattr(sys, "last_value", None)
        met = ANSWER if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else COME  # is it there before us?
        self.store = next(rendezvous("env://", rank, count, timeout=timedelta(seconds=met)))[0]
        self.store.set_timeout(timedelta(seconds=COME))
        self.links = dict[socket.socket, str]()
        self.launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None  # others may leave us on purpose
        Finalize(None, self.leave, exitpriority=0)  # unlike atexit's it is called in a forked process too
        if rank == 0:
            self._await(count)
        else:
            port, token, name = self.store.get("rgd/first").decode().split(" ", 2)
            link = socket.create_connection((os.environ["MASTER_ADDR"], int(port)), COME)
            link.sendall(f"{token} {rank} {self.name}\n".encode())
            self.links[link] = name
        for link in self.links:
            link.settimeout(None)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in PROBES.items():
                if hasattr(socket, option):
                    link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        threading.Thread(target=self._listen, daemon=True).start()

    def _await(self, count: int) -> None:
        """Every other process's call; whoever does not know the token is not one of them."""
        token, until, missing = secrets.token_hex(), time.monotonic() + COME, set(range(1, count))
        family = socket.getaddrinfo(os.environ["MASTER_ADDR"], None, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server(("", 0), family=family) as server:
            self.store.set("rgd/first", f"{server.getsockname()[1]} {token} {self.name}")
            while missing:
                server.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    link, _ = server.accept()
                except TimeoutError:
                    who = ", ".join(map(str, sorted(missing)))
                    raise WorkerLost(f"no sign of process {who} of {count} within {COME:g} s. {ADVICE}") from None
                link.settimeout(10)
                with suppress(OSError, TypeError, ValueError):
                    said, rank, name = link.makefile().readline().strip().split(" ", 2)
                    if secrets.compare_digest(said, token) and int(rank) in missing:
                        missing.remove(int(rank))
                        self.links[link] = name

    def _listen(self) -> None:
        """To every other process: a line when it ends, empty if all is well; or none, if it had no time for one."""
        with selectors.DefaultSelector() as selector:
            for link in self.links:
                selector.register(link, selectors.EVENT_READ, link.makefile())
            while not self.lost:
                for key, _ in selector.select(1.0):
                    name, line = self.links[key.fileobj], ""  # type: ignore[index]
                    with suppress(OSError):
                        line = key.data.readline()
                    if line.strip():
                        self._lose(line.strip())
                    elif line:
                        self.ended[name] = time.monotonic()
                    else:
                        selector.unregister(key.fileobj)
                        if name not in self.ended:
                            self._lose(f"{name} died without a word: it was killed (for want of memory?), or its "
                                       f"machine or network is gone. {ADVICE}")  # fmt: skip
                if any(time.monotonic() - max(at, self.needed_since) > GRACE for at in self.ended.values()):
                    self._lose(f"{next(iter(self.ended))} ended, and {self.name} still needs it. {ADVICE}")
                if self.launcher not in (None, os.getppid()):
                    self._lose(f"what launched {self.name} was killed. {ADVICE}")
        time.sleep(GRACE if self.launcher in (None, os.getppid()) else 0)  # an orphan saves nothing that another might
        print(f"rgd: {self.lost}", file=sys.stderr, flush=True)
        os._exit(1)

    def _lose(self, what: str) -> None:
        if not self.lost:
            self.lost = what
            self._tell(what)
            self.news.set()

    def _tell(self, line: str) -> None:
        for link in self.links:
            with suppress(OSError):
                link.sendall(f"{line}\n".encode())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what needs every process. WorkerLost if one is gone, in place of what goes wrong of that."""
        self.needed_since = time.monotonic()
        try:
            if self.lost:
                raise WorkerLost(self.lost)
            yield
        except RuntimeError as error:  # such as that a connection was closed
            if isinstance(error, WorkerLost) or not (self.news.wait(2) or self.ended):
                raise
            self._lose(f"{next(iter(self.ended), '')} ended, and {self.name} still needs it. {ADVICE}")
            raise WorkerLost(self.lost) from error
        finally:
            self.needed_since = math.inf

    def leave(self) -> None:
        """Tell the others that this process ends, and of what error, if of one."""
        error = sys.exc_info()[1] or getattr(sys, "last_value", None)
        error = None if error is self.earlier_error else error
        if isinstance(error, SystemExit):
            error = (error.__context__ or error) if error.code else None
        if error is not None and not isinstance(error, WorkerLost) and self.news.wait(1):
            print(f"rgd: {self.lost}", file=sys.stderr, flush=True)
        what = "" if error is None else f"{self.name} failed: {type(error).__name__}: {error}. {ADVICE}"
        self._tell(" ".join((self.lost or what).split()))
