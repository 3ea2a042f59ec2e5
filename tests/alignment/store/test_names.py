"""Names, versions and references: whatever somebody sends, nothing outside the store is touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_alignment.errors import NotFound, StoreError
from motet_alignment.store import AdapterStore, check_name, is_name, split_reference

ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
NASTY = ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "a\n", "a\0", "-a", "_a", "é", "a b", "a" * 65]
NASTY += [".staging", ".locks"]


@pytest.mark.parametrize("name", NASTY)
def test_names_that_could_leave_the_store_are_refused_everywhere(publish, store, name):
    publish(1)
    uses = [
        check_name,
        split_reference,
        store.get,
        store.versions,
        store.current,
        store.history,
        store.rollback,
    ]
    uses += [store.promote, store.remove, store.remove_all, store.damaged, lambda name: store.prune(name, 1)]
    for use in uses:
        with pytest.raises(StoreError, match="can't name an adapter"):
            use(name)
    with pytest.raises(StoreError, match="can't name an adapter"):
        publish(1, name=name)
    assert store.names() == ["tutor"]


@given(st.text(max_size=80) | st.text(ALLOWED + "@/\n", max_size=20))
def test_a_name_is_one_plain_part_of_a_path_or_refused(name):
    if is_name(name):
        assert check_name(name) == name
        assert set(name) <= set(ALLOWED)
        assert name[0].isalnum()
        assert 1 <= len(name) <= 64
        assert split_reference(name) == (name, None)
    else:
        with pytest.raises(StoreError):
            check_name(name)


@given(st.text(ALLOWED, min_size=1, max_size=64).filter(lambda name: name[0] not in "._-"))
def test_every_allowed_name_is_a_name(name):
    assert is_name(name)


@given(st.text(max_size=40) | st.from_regex(r"\A[a-z]{1,4}@[0-9a-f]{4,14}\Z"))
def test_a_reference_is_understood_or_refused(tmp_path_factory, reference):
    store = AdapterStore(tmp_path_factory.getbasetemp() / "nothing-is-here")
    try:
        name, version = split_reference(reference)
    except StoreError as refusal:
        with pytest.raises(StoreError, match=re.escape(str(refusal))):
            store.get(reference)
        return
    assert reference == (name if version is None else f"{name}@{version}")
    with pytest.raises(NotFound):
        store.get(reference)
    assert not store.root.exists()
