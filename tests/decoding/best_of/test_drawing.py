from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_decoding.best_of.drawing import draw_all
from motet_decoding.best_of.testing import END, ScriptedSource


def test_candidates_stand_by_index_and_are_told_of_as_they_end():
    source = ScriptedSource(
        {0: "slow", 1: "swift", 2: "not so slow"}, delay=lambda index, part: (9, 1, 4)[index]
    )
    told = []
    drawn = asyncio.run(draw_all(source, 3, told.append))
    assert [candidate.text for candidate in drawn.candidates] == ["slow", "swift", "not so slow"]
    assert [candidate.index for candidate in drawn.candidates] == [0, 1, 2]
    assert [candidate.index for candidate in told] == [1, 2, 0]
    assert (drawn.rejected, drawn.tokens) == ((), 5 + 6 + 12)
    assert source.most_running == 3


@given(st.lists(st.text("ab", max_size=8), min_size=1, max_size=6), st.integers(1, 10), st.integers())
def test_all_are_drawn_to_their_end_whoever_comes_first(texts, most, seed):
    delays = random.Random(seed)
    source = ScriptedSource(dict(enumerate(texts)), most=most, delay=lambda index, part: delays.randrange(8))
    drawn = asyncio.run(draw_all(source, len(texts), lambda candidate: None))
    for text, candidate in zip(texts, drawn.candidates, strict=True):
        assert candidate.token_ids == (*map(ord, text), END)[:most]
        assert candidate.finish_reason == ("stop" if len(text) < most else "length")
    assert drawn.tokens == source.tokens


def test_a_failure_ends_the_others():
    def script(begun, index, part):
        if index == 2:
            raise ConnectionError("gone")
        return "text"

    source = ScriptedSource(script, delay=lambda index, part: 3 if index == 2 else 10**9)
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(draw_all(source, 4, lambda candidate: None))
    assert (source.most_running, source.running) == (4, 0)
