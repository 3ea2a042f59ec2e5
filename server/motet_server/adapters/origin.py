"""Who may change a server's adapters: not a web page that somebody at this machine has open."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from motet_decoding.errors import RequestError

#: What the paths begin with that change what is published or loaded.
ADAPTER_PATHS = ("/v1/adapters", "/v1/load_lora_adapter", "/v1/unload_lora_adapter")


class OriginError(RequestError):
    """A request that a browser sent for another site."""

    status, kind = 403, "PermissionDeniedError"


def check_origin(headers: Headers) -> None:
    """Refuses what a browser sends for a page of another site; a form can be sent anywhere without being asked.

    Raises:
        OriginError: the header Origin names another host than Host does.
    """
    origin = headers.get("origin")
    if origin is not None and _host(origin) != headers.get("host", "").lower():
        raise OriginError("Origin", f"{origin:.100} may not change this server's adapters")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise OriginError("Sec-Fetch-Site", "a page of another site may not change this server's adapters")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None  # no address at all, so not this server's


def is_upload(path: str, headers: Headers) -> bool:
    """Whether a request brings an adapter's files."""
    return path == "/v1/adapters" and headers.get("content-type", "").lower().startswith(
        "multipart/form-data"
    )
