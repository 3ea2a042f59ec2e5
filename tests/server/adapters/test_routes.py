"""Uploads through the routes, without an engine: how many at once, and what one that breaks off leaves behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from motet_server.adapters import routes
from motet_server.adapters.publishing import MOST_UPLOADS

pytestmark = pytest.mark.anyio

FORM = b'--b\r\nContent-Disposition: form-data; name="files"; filename="adapter_config.json"\r\n\r\n{}'
HEADERS = {"content-type": "multipart/form-data; boundary=b"}


def app_of(folder: Path) -> tuple[FastAPI, Any]:
    service: Any = SimpleNamespace(uploads=0, settings=SimpleNamespace(folder=folder, max_upload=10_000))
    app = FastAPI()
    routes.attach(app, lambda: service)
    return app, service


async def test_no_more_than_some_uploads_at_once(tmp_path):
    app, service = app_of(tmp_path)
    service.uploads = MOST_UPLOADS
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        answer = await client.post("/v1/adapters", content=FORM, headers=HEADERS)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        service.uploads -= 1
        answer = await client.post("/v1/adapters", content=FORM, headers=HEADERS)
        assert (answer.status_code, "breaks off" in answer.json()["error"]["message"]) == (400, True)
    assert service.uploads == MOST_UPLOADS - 1


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path):
    app, service = app_of(tmp_path)
    messages = [{"type": "http.request", "body": FORM, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        if len(messages) == 1:
            assert [path.name.startswith(".upload-") for path in tmp_path.iterdir()] == [True]
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/adapters",
        "headers": headers,
        "query_string": b"",
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 499
    assert (list(tmp_path.iterdir()), service.uploads) == ([], 0)


async def test_a_folder_that_cannot_be_written_to_is_a_507(tmp_path):
    app, _ = app_of(tmp_path / "gone")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        answer = await client.post("/v1/adapters", content=FORM, headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (507, "InsufficientStorageError")
