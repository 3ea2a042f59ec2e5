"""The adapter store: adapters published whole, by content, checked before an engine sees them. Needs no torch."""

from motet_alignment.store.adapter import Adapter
from motet_alignment.store.alias import Move
from motet_alignment.store.base import find_base
from motet_alignment.store.check import check
from motet_alignment.store.fingerprint import fingerprint
from motet_alignment.store.manifest import (
    KINDS,
    BaseFingerprint,
    DataFile,
    Kind,
    Manifest,
    check_name,
    is_name,
    split_reference,
)
from motet_alignment.store.publish import left_out
from motet_alignment.store.store import AdapterStore, default_store

__all__ = [
    "KINDS",
    "Adapter",
    "AdapterStore",
    "BaseFingerprint",
    "DataFile",
    "Kind",
    "Manifest",
    "Move",
    "check",
    "check_name",
    "default_store",
    "find_base",
    "fingerprint",
    "is_name",
    "left_out",
    "split_reference",
]
