"""Fixtures that more than one folder of tests uses."""

import os
import socket

import pytest


@pytest.fixture
def unused_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def uid() -> int:
    """The user that runs the tests."""
    return os.getuid()
