"""Forms that bring an adapter: whole, broken, too long, with parts that don't belong."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from motet_decoding.errors import RequestError
from motet_server.adapters.errors import StorageError
from motet_server.adapters.origin import OriginError, check_origin, is_upload
from motet_server.adapters.upload import _Form, receive_form
from motet_server.errors import TooLargeError

pytestmark = pytest.mark.anyio

FIELDS = frozenset({"name", "kind"})
CONFIG = ("files", ("adapter_config.json", b"{}"))
WEIGHTS = ("files", ("adapter_model.safetensors", bytes(range(256)) * 1000))


def encoded(files: list, data: dict[str, str]) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x", files=files, data=data)
    return request.headers["content-type"], request.read()


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def receive(folder: Path, files: list, data: dict[str, str], *, size: int = 65_536, most: int = 10**6):
    kind, content = encoded(files, data)
    return await receive_form(kind, pieces(content, size), folder, fields=FIELDS, most=most)


@pytest.mark.parametrize("size", [7, 4096, 10**7])
async def test_files_arrive_as_they_were_however_the_body_is_cut(tmp_path, size):
    assert await receive(tmp_path, [CONFIG, WEIGHTS], {"name": "bäume"}, size=size) == {"name": "bäume"}
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == WEIGHTS[1][1]
    assert (tmp_path / "adapter_config.json").read_bytes() == b"{}"


async def test_files_may_come_under_their_own_names_and_from_any_folder(tmp_path):
    files = [
        ("adapter_config.json", ("anything.json", b"{}")),
        ("files", ("C:\\out\\adapter_model.safetensors", b"x")),
        ("files", ("../../chat_template.jinja", b"{{ 1 }}")),
    ]
    await receive(tmp_path, files, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
    ]


@pytest.mark.parametrize(
    ("files", "data", "field", "says"),
    [
        ([CONFIG], {}, "adapter_model.safetensors", "is missing"),
        ([CONFIG, CONFIG], {}, "adapter_config.json", "comes twice"),
        ([CONFIG, WEIGHTS, ("files", ("adapter_model.bin", b"x"))], {}, "files", "adapter_model.bin"),
        ([CONFIG, WEIGHTS, ("more", ("a.json", b"x"))], {}, "more", "isn't a file of an adapter"),
        ([CONFIG, WEIGHTS], {"nmae": "x"}, "nmae", "unknown field"),
        ([CONFIG, WEIGHTS], {"name": "x" * 5000}, "name", "longer than"),
        ([("files", (f"{i}", b"")) for i in range(20)], {}, "files", "isn't a file"),
    ],
)
async def test_a_part_that_does_not_belong_is_named(tmp_path, files, data, field, says):
    with pytest.raises(RequestError, match=says) as error:
        await receive(tmp_path, files, data)
    assert error.value.field == field


async def test_a_form_that_is_too_long_is_refused_before_its_end(tmp_path):
    with pytest.raises(TooLargeError, match="--max-adapter-bytes"):
        await receive(tmp_path, [CONFIG, WEIGHTS], {}, most=1000, size=100)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000


async def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_Form, "_part_data", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        await receive(tmp_path, [CONFIG, WEIGHTS], {})
    assert caught.value.status == 507


async def test_what_is_no_whole_form_is_refused(tmp_path):
    kind, content = encoded([CONFIG, WEIGHTS], {})
    for body in (content[:-20], b"no form at all", b""):
        with pytest.raises(RequestError) as error:
            await receive_form(kind, pieces(body, 100), tmp_path, fields=FIELDS, most=10**6)
        assert error.value.field == "body"
        for file in tmp_path.iterdir():
            file.unlink()
    with pytest.raises(RequestError, match="boundary"):
        await receive_form("multipart/form-data", pieces(content, 100), tmp_path, fields=FIELDS, most=10**6)


async def test_pages_of_other_sites_change_nothing():
    for headers in (
        {"host": "localhost:8000", "origin": "http://evil.example"},
        {"host": "localhost:8000", "origin": "http://localhost:9000"},
        {"host": "localhost:8000", "origin": "null"},
        {"host": "localhost:8000", "origin": "http://["},
        {"host": "localhost:8000", "sec-fetch-site": "cross-site"},
    ):
        with pytest.raises(OriginError):
            check_origin(Headers(headers))
    for headers in (
        {"host": "localhost:8000"},
        {"host": "localhost:8000", "origin": "http://localhost:8000", "sec-fetch-site": "same-origin"},
    ):
        check_origin(Headers(headers))


async def test_only_forms_to_the_one_path_are_uploads():
    form = Headers({"content-type": "multipart/form-data; boundary=x"})
    assert is_upload("/v1/adapters", form)
    assert not is_upload("/v1/chat/completions", form)
    assert not is_upload("/v1/adapters", Headers({"content-type": "application/json"}))
