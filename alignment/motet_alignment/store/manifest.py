"""What is known of a published adapter: its names, its base and where it came from (``motet.json``)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from motet_alignment.errors import Refused, StoreError

Kind = Literal["sft", "dpo", "ppo", "reward"]
KINDS: tuple[Kind, ...] = ("sft", "dpo", "ppo", "reward")

MANIFEST = "motet.json"
MANIFEST_BYTES = 4 * 2**20
VERSION_DIGITS = 12
PREFIX_DIGITS = 6
# ``\Z`` where ``$`` would let a name end in a line break.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN + r"\Z")
_VERSION = re.compile(rf"[0-9a-f]{{{VERSION_DIGITS}}}\Z")
_PREFIX = re.compile(rf"[0-9a-f]{{{PREFIX_DIGITS},{VERSION_DIGITS}}}\Z")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=4096)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseFingerprint(_Record):
    """What a base model is, so that an adapter trained on one is never applied to another."""

    name: Text = Field(description="What people call it; not compared.")
    weights: Sha256 = Field(
        description="Of the architecture and of every tensor's name, type, shape and samples."
    )
    tokenizer: Sha256 = Field(description="Of the tokenizer's vocabulary and rules.")
    chat_template: Sha256 | None = Field(description="Of the chat template's text; null where there is none.")
    hidden_size: int = Field(gt=0, le=2**24, description="Width of the hidden state.")
    vocab_size: int = Field(gt=0, le=2**31, description="Rows of the embedding.")

    def differences(self, other: BaseFingerprint, *, template: bool = True) -> tuple[str, ...]:
        """Which parts of the two differ: "weights", "tokenizer" and, if ``template``, "chat template"."""
        compared = {"weights": "weights", "tokenizer": "tokenizer", "chat_template": "chat template"}
        if not template:
            del compared["chat_template"]
        return tuple(said for part, said in compared.items() if getattr(self, part) != getattr(other, part))


class DataFile(_Record):
    """A file that an adapter was trained on."""

    path: Text = Field(description="Where it lay, as it was given.")
    sha256: Sha256 = Field(description="Of its bytes.")
    examples: int = Field(ge=0, description="How many examples were taken from it.")


class Manifest(_Record):
    """``motet.json`` of one published version; never changed after it was published."""

    name: str = Field(pattern=rf"^{NAME_PATTERN}$", description="The adapter's name in the store.")
    version: str = Field(pattern=r"^[0-9a-f]{12}$", description="First digits of the content's hash.")
    kind: Kind = Field(description="What it was trained for.")
    base: BaseFingerprint = Field(description="The model it belongs to.")
    chat_template: Sha256 | None = Field(description="Of its own chat template; null: the base's is used.")
    rank: int = Field(ge=1, le=4096, description="The largest rank that its configuration mentions.")
    target_modules: tuple[Text, ...] = Field(
        max_length=4096, description="Last names of the modules it changes."
    )
    parents: tuple[Text, ...] = Field(
        default=(), max_length=64, description="NAME@VERSION it was trained from."
    )
    data: tuple[DataFile, ...] = Field(default=(), max_length=10_000, description="What it was trained on.")
    settings: dict[str, JsonValue] = Field(default={}, description="How it was trained.")
    metrics: dict[str, JsonValue] = Field(default={}, description="What was measured at the end.")
    files: dict[str, Sha256] = Field(
        max_length=16, description="Every other file of the version and its hash."
    )
    created: str = Field(max_length=40, description="When it was published, UTC, ISO 8601.")
    motet: str = Field(max_length=64, description="The motet that published it.")

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"

    def digest(self) -> str:
        """The whole hash of what decides its answers: files, kind and base, neither name nor time."""
        return content_digest(self.files, self.kind, self.base)


def content_digest(files: Mapping[str, str], kind: Kind, base: BaseFingerprint) -> str:
    """sha256 over the files' hashes, the kind and the base's fingerprint without its name."""
    content = {"files": dict(files), "kind": kind, "base": base.model_dump(exclude={"name"})}
    return hashlib.sha256(canonical(content)).hexdigest()


def canonical(value: object) -> bytes:
    """``value`` as the one JSON text that stands for it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def check_name(name: str) -> str:
    """``name``, if it can be an adapter's. Raises StoreError."""
    if not _NAME.match(name):
        raise StoreError(
            f"{_shown(name)} can't name an adapter: 1 to 64 letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit"
        )
    return name


def is_name(text: str) -> bool:
    """Whether ``text`` can be an adapter's name."""
    return _NAME.match(text) is not None


def is_version(text: str) -> bool:
    """Whether ``text`` can be a version."""
    return _VERSION.match(text) is not None


def split_reference(reference: str) -> tuple[str, str | None]:
    """The name and the version or its beginning (None: the current one) of NAME or NAME@VERSION.

    Raises StoreError for anything else.
    """
    name, at, version = reference.partition("@")
    check_name(name)
    if not at:
        return name, None
    if not _PREFIX.match(version):
        raise StoreError(
            f"{_shown(reference)}: a version is {PREFIX_DIGITS} to {VERSION_DIGITS} hexadecimal digits, such as "
            f"{name}@0123456789ab"
        )
    return name, version


def manifest_bytes(manifest: Manifest) -> bytes:
    """``manifest`` as it stands in ``motet.json``. Raises StoreError if it is larger than a manifest may be."""
    written = (json.dumps(manifest.model_dump(mode="json"), indent=1, allow_nan=False) + "\n").encode()
    if len(written) > MANIFEST_BYTES:
        raise StoreError(f"settings and metrics take {len(written)} bytes; at most {MANIFEST_BYTES} are kept")
    return written


def parse_manifest(value: object, where: str) -> Manifest:
    """The manifest in the JSON value ``value``. Raises Refused naming ``where`` and the field at fault."""
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise Refused(f"{where}: {first_complaint(error)}") from None


def first_complaint(error: ValidationError) -> str:
    """The first thing pydantic found, as "field: reason"."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def check_finite(value: Any, where: str) -> None:
    """Raises StoreError naming the first number below ``value`` that JSON has no word for (NaN, infinity)."""
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"{where} is {value}: a manifest holds finite numbers")
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in inner:
        check_finite(item, f"{where}.{key}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
