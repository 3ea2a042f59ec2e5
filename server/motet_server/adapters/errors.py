"""Why a request for an adapter can't be answered."""

from __future__ import annotations

from collections.abc import Sequence

from motet_decoding.errors import RequestError

#: Versions that an error names; there may be any number.
_NAMED = 5


class AdapterRequestError(RequestError):
    """A request that an adapter stands in the way of.

    Attributes:
        status: the HTTP status it is answered with.
        kind: OpenAI's type of the error.
    """

    status = 400
    kind = "BadRequestError"


class FieldAdapterError(AdapterRequestError):
    """The same trouble with an adapter that another field than ``model`` names."""

    def __init__(self, field: str, error: AdapterRequestError) -> None:
        super().__init__(field, error.message)
        self.status, self.kind = error.status, error.kind
        self.retry_after: int | None = getattr(error, "retry_after", None)


class UnknownAdapterError(AdapterRequestError):
    """There is no adapter of this name."""

    status, kind = 404, "NotFoundError"

    def __init__(self, name: str) -> None:
        super().__init__(
            "model", f"{name:.100}: no such model or adapter; GET /v1/models lists what is served"
        )


class NoVersionError(AdapterRequestError):
    """There is an adapter of this name, but not this version."""

    status, kind = 404, "NotFoundError"

    def __init__(self, name: str, version: str | None, versions: Sequence[str]) -> None:
        shown = ", ".join(versions[-_NAMED:]) + (
            f" and {len(versions) - _NAMED} older" if len(versions) > _NAMED else ""
        )
        if version is None:
            problem = f"{name:.100} has no current version; promote one of {shown}"
        else:
            problem = f"{name:.100} has no version {version:.100}, or several that begin so; it has {shown}"
        super().__init__("model", problem)


class RefusedError(AdapterRequestError):
    """The version can't be served.

    Attributes:
        reason: why.
    """

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__("model", f"{reference} can't be served: {reason}")
        self.reason = reason


class NoRoomError(AdapterRequestError):
    """Every version that the engine holds is in use.

    Attributes:
        retry_after: seconds after which it may be tried again.
    """

    status, kind = 503, "ServiceUnavailableError"
    retry_after = 5

    def __init__(self, reference: str, most: int, waited: float) -> None:
        super().__init__(
            "model",
            f"{reference}: the {most} adapters that this server keeps loaded have all been in use for "
            f"{waited:.0f} s; try again, or start it with more --max-adapters",
        )


class StorageError(AdapterRequestError):
    """The server's disk can't hold an adapter's files for now."""

    status, kind = 507, "InsufficientStorageError"


class UploadsError(AdapterRequestError):
    """As many adapters are being uploaded as the server takes at once."""

    status, kind = 503, "ServiceUnavailableError"
    retry_after = 5

    def __init__(self, most: int) -> None:
        super().__init__("body", f"{most} adapters are being uploaded already; try again")


class InUseError(AdapterRequestError):
    """A version that is to be unloaded is in use."""

    status, kind = 409, "ConflictError"

    def __init__(self, reference: str, waited: float) -> None:
        super().__init__("lora_name", f"{reference} was in use for {waited:.0f} s; try again")


class NotLoadedError(AdapterRequestError):
    """A version that is to be unloaded isn't loaded."""

    status, kind = 404, "NotFoundError"

    def __init__(self, reference: str) -> None:
        super().__init__("lora_name", f"{reference} isn't loaded")
