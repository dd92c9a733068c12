"""The gate that the tests run behind: the network is denied, not merely unused."""

import errno
import os
import socket
import sys

import pytest


@pytest.fixture(autouse=True)
def behind_the_gate():
    if os.environ.get("WORKSHOP_OFFLINE") != "1":
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(
                "CI must run the tests behind tests/offline.py, and it could not take the network"
                " away"
            )
        pytest.skip(
            "run by `make test` on Linux: tests/offline.py did not take the network away here"
        )


def test_no_address_outside_can_be_reached():
    with socket.socket() as outside:
        outside.settimeout(5)
        # an address kept for documentation
        assert outside.connect_ex(("192.0.2.1", 443)) == errno.ENETUNREACH


def test_loopback_still_works():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        server.accept()[0].sendall(b"here")
        assert client.recv(4) == b"here"
