"""Run a command that is not trusted, in namespaces of its own: `python -I jail.py JSON COMMAND...`, on Linux.

The command sees the folders that are shown to it, read-only, a scratch folder, and nothing else: no network, no other
process, no other file. Whatever it starts ends with it. It stands alone and imports the standard library only, since
a process that has threads cannot enter a user namespace. Sources: namespaces(7), user_namespaces(7), pivot_root(2),
mount_setattr(2), setrlimit(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

NEW = 0x10000000 | 0x20000 | 0x40000000 | 0x08000000 | 0x20000000  # user, mounts, network, IPC, processes
BIND, PRIVATE, DETACH, PATHS_BELOW, READ_ONLY = 0x1000 | 0x4000, 0x40000 | 0x4000, 2, 0x8000, 1
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MOUNT_SETATTR = 442  # on every machine
DIE_WITH_PARENT, DROP, NO_MORE = 1, 24, 38  # options of prctl: a signal; a right; no program gives rights
RIGHTS = 41  # CAP_LAST_CAP; a kernel that knows fewer says so
USER = os.getuid()  # before it is root inside
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/sbin", "/etc", "/opt", "/dev")


def _call(name: str, *args: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: Path, kind: str | None, flags: int = 0, options: str = "") -> None:
    kinds = kind and kind.encode()
    _call("mount", source.encode(), bytes(target), kinds, ctypes.c_ulong(flags), options.encode() or None)


def _own_user() -> None:
    """Leave every namespace of the caller; its user is root in there, and nobody outside."""
    user, group = USER, os.getgid()
    _call("unshare", NEW)
    for name, line in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
        Path(f"/proc/self/{name}").write_text(line)


def _own_files(scratch: Path, shown: list[str], hidden: list[str], megabytes: int) -> None:
    """A root folder with what is shown, in place of the one that was. `scratch` can be written to; it keeps nothing."""
    _mount("none", Path("/"), None, PRIVATE)
    _mount("root", scratch, "tmpfs", 0, "size=1m")
    (scratch / "tmp").mkdir()
    _mount("scratch", scratch / "tmp", "tmpfs", 0, f"size={megabytes}m")  # first: what is shown may lie in it
    for folder in dict.fromkeys([*SYSTEM, *shown]):
        target = scratch / folder.lstrip("/")
        if Path(folder).is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.readlink(folder))
        elif Path(folder).is_dir() and not target.exists():  # else it lies in another that is shown
            target.mkdir(parents=True)
            _mount(folder, target, None, BIND)
    for folder in hidden:
        if (scratch / folder.lstrip("/")).is_dir():
            _mount("nothing", scratch / folder.lstrip("/"), "tmpfs", 0, "size=4k")
    for name in ("proc", "old"):
        (scratch / name).mkdir(exist_ok=True)
    _mount("proc", scratch / "proc", "proc")
    _few_processes(scratch / "proc/sys/kernel/pid_max")
    _read_only(scratch, PATHS_BELOW, READ_ONLY, 0)
    _read_only(scratch / "tmp", 0, 0, READ_ONLY)
    if (scratch / "dev/shm").is_dir():
        _mount("scratch", scratch / "dev/shm", "tmpfs", 0, f"size={megabytes}m")
    _call("syscall", PIVOT_ROOT[os.uname().machine], bytes(scratch), bytes(scratch / "old"))
    os.chdir("/tmp")
    _call("umount2", b"/old", DETACH)


def _read_only(path: Path, below: int, on: int, off: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(on, off, 0, 0)
    _call("syscall", MOUNT_SETATTR, -100, bytes(path), below, attributes, ctypes.sizeof(attributes))


def _few_processes(most: Path) -> None:
    """The kernel is to stop processes that breed without end: who only watches them from outside comes too late.

    RLIMIT_NPROC does it, but not for the superuser; the namespace's own pid_max does, from Linux 6.14 on.
    """
    try:
        most.write_text("301")  # the least that Linux takes
    except OSError as error:
        if USER == 0:
            raise OSError("nothing limits the processes of the superuser here; grade as another user") from error


def _no_rights() -> None:
    """What is root in here may mount nothing from now on, so that what is read-only or gone stays so."""
    for right in range(RIGHTS):
        with contextlib.suppress(OSError):
            _call("prctl", DROP, right, 0, 0, 0)
    _call("prctl", NO_MORE, 1, 0, 0, 0)


def limit(memory: int, seconds: int, processes: int) -> None:
    """Limits that the system keeps, for this process and those it starts; memory and processor time are of each."""
    wanted = {resource.RLIMIT_AS: memory, resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0}
    wanted |= {resource.RLIMIT_FSIZE: 2**26, resource.RLIMIT_NOFILE: 1024}
    if USER != 0:
        wanted[resource.RLIMIT_NPROC] = processes
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def main() -> None:
    """Enter, and become the command; its exit status is ours."""
    told, command = json.loads(sys.argv[1]), sys.argv[2:]
    _own_user()
    _call("prctl", DIE_WITH_PARENT, 9)  # whatever ends the grader ends this
    inside = os.fork()  # the first process in the new namespace: if it ends, all end
    if inside:
        raise SystemExit(min(os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1]) % 256, 255))
    _call("prctl", DIE_WITH_PARENT, 9)
    _own_files(Path(told["scratch"]), told["shown"], told["hidden"], told["megabytes"])
    _no_rights()
    limit(told["memory"], told["seconds"], told["processes"])
    if command:
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
