"""The bundled pair, served by the command that a user types."""

from __future__ import annotations

import pytest
from tests.servers import running_server


@pytest.fixture(scope="session")
def bundled(tmp_path_factory):
    """`motet serve`, nothing else said."""
    yield from running_server([], tmp_path_factory.mktemp("bundled") / "serve.log")
