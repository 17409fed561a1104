from __future__ import annotations

import pytest
from support.server_harness import raw_client, running_server


@pytest.fixture
def server():
    """A server on loopback that averages views."""
    with running_server() as running:
        yield running


@pytest.fixture
def raw(server):
    """A socket that speaks the protocol by hand to `server`."""
    with raw_client(server.address) as client:
        yield client
