"""Run a command with the network taken away: only loopback is left.

    python tests/offline.py COMMAND [ARGUMENT ...]

Linux gives the command a network namespace of its own, which an ordinary user may make. Where the
system does not let us (macOS, Windows, a hardened Linux), the command runs with the network as it
is, a line says so, and tests/test_offline.py skips; in CI on Linux it fails.
"""

import ctypes
import os
import socket
import struct
import sys

NEW_USER, NEW_NET = 0x10000000, 0x40000000
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x1 | 0x40


def leave_the_network() -> None:
    """Move this process to a network of its own, where only loopback exists.

    Raises:
        OSError, AttributeError, ImportError: if the system refuses, or is no Linux.
    """
    import fcntl  # not on Windows

    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_USER | NEW_NET):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh22x", b"lo", UP_AND_RUNNING))


def main() -> None:
    """Become the command."""
    try:
        leave_the_network()
        os.environ["WORKSHOP_OFFLINE"] = "1"
    except (OSError, AttributeError, ImportError) as error:
        print(
            f"offline: this system does not let the tests give up the network ({error}); they run"
            " with it.",
            file=sys.stderr,
        )
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
