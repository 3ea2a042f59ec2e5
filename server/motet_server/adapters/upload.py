"""Reading an uploaded adapter: a multipart form whose files go to disk as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from motet_decoding.errors import RequestError
from motet_server.adapters.errors import StorageError
from motet_server.errors import TooLargeError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

#: What an adapter consists of; a chat template of its own if it has one.
NEEDED: Final = ("adapter_config.json", "adapter_model.safetensors")
FILES: Final = frozenset({*NEEDED, "chat_template.jinja"})

#: The part under which files may come by their own names.
ANY_FILE: Final = "files"

#: Bytes of a field that isn't a file, of a part's headers, and parts of a form.
_FIELD_BYTES, _HEADER_BYTES, _PARTS = 4096, 8192, 16


async def receive_form(
    content_type: str, chunks: AsyncIterable[bytes], folder: Path, *, fields: frozenset[str], most: int
) -> dict[str, str]:
    """Writes a form's files into ``folder`` and returns its other fields.

    Args:
        content_type: the request's, with its boundary.
        chunks: the body.
        folder: an empty one.
        fields: the names that fields may have.
        most: bytes that the body may have.

    Raises:
        TooLargeError: the body is longer.
        RequestError: naming the part at fault.
        StorageError: the disk is full.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise RequestError("body", "the header Content-Type names no boundary")
    form = _Form(folder, fields)
    parser = MultipartParser(boundary, form.callbacks())
    size = 0
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise TooLargeError(
                    "body", f"more than the {most} bytes this server takes (--max-adapter-bytes)"
                )
            await asyncio.to_thread(parser.write, chunk)
        parser.finalize()
    except MultipartParseError as error:
        raise RequestError("body", f"not a multipart form: {error}") from None
    except OSError as error:
        raise StorageError("body", f"can't be written down: {error.strerror or error}") from None
    finally:
        form.close()
    if not form.ended:
        raise RequestError("body", "the form breaks off")
    for file in NEEDED:
        if not (folder / file).is_file():
            raise RequestError(file, f"is missing; send it as a file, -F {ANY_FILE}=@{file}")
    return form.values


class _Form:
    """What the parser calls, part by part."""

    def __init__(self, folder: Path, fields: frozenset[str]) -> None:
        self.values: dict[str, str] = {}
        self.ended = False
        self._folder = folder
        self._fields = fields
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._name = ""
        self._data = bytearray()
        self._file: IO[bytes] | None = None

    def callbacks(self) -> MultipartCallbacks:
        """By the names that python-multipart documents."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._collect(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._collect(self._value, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Closes a file that is still open."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise RequestError("body", f"more than {_PARTS} parts")
        self._headers = {}

    def _collect(self, into: bytearray, data: bytes) -> None:
        into += data
        if len(into) > _HEADER_BYTES:
            raise RequestError("body", "a part's headers are too long")

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        self._data, self._file = bytearray(), None
        file = self._name
        if self._name == ANY_FILE:
            file = (filename or b"").decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
        if file in FILES:
            try:
                self._file = (self._folder / file).open("xb")
            except FileExistsError:
                raise RequestError(file, "comes twice") from None
        elif self._name == ANY_FILE or filename is not None:
            raise RequestError(
                f"{self._name:.100}",
                f"{file:.100}: isn't a file of an adapter; those are {', '.join(sorted(FILES))}",
            )
        elif self._name not in self._fields:
            raise RequestError(
                f"{self._name:.100}", f"unknown field; known are {', '.join(sorted(self._fields | FILES))}"
            )
        elif self._name in self.values:
            raise RequestError(self._name, "comes twice")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._data += data[start:end]
        if len(self._data) > _FIELD_BYTES:
            raise RequestError(self._name, f"longer than {_FIELD_BYTES} bytes")

    def _part_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            return
        try:
            self.values[self._name] = self._data.decode()
        except UnicodeDecodeError as error:
            raise RequestError(self._name, f"not UTF-8: {error}") from None

    def _end(self) -> None:
        self.ended = True
