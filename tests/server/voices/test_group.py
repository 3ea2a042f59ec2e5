"""A group is held against the engine's room before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from motet_decoding.engine.arguments import Member
from motet_decoding.errors import RequestError
from motet_server.room import Room
from motet_server.voices.group import Group

ROOM = Room(context=100, sequences=8, slots=2, block=16, blocks=None)


def group(*prompts: int | None, asked: str | None = None, **room: Any) -> Group:
    """A group whose members read so many tokens, or what the answer reads."""
    members = [Member(tokens=None if tokens is None else (1,) * tokens) for tokens in prompts]
    fields = [f"voice {index}" for index in range(len(prompts))]
    return Group(members, fields, Room(**{**_asdict(ROOM), **room}), "messages", asked)


def _asdict(room: Room) -> dict[str, Any]:
    return {name: getattr(room, name) for name in Room.__slots__}


def fitted(of: Group, own: int, most: int, least: int = 0) -> int:
    sampling = SimpleNamespace(max_tokens=most, min_tokens=least)
    given = of.fitted({"prompt_token_ids": [1] * own}, sampling)
    assert sampling.max_tokens == most, "the request's own sampling must stay as it was"
    return int(given.max_tokens)


def test_an_answer_that_fits_is_left_as_it_was_asked_for():
    assert fitted(group(None, 60), 50, 40) == 40
    assert fitted(group(None, 60, asked="max_tokens"), 50, 40) == 40


def test_the_longest_sequence_bounds_the_answer():
    assert fitted(group(None, 60), 50, 50) == 40
    assert fitted(group(10), 50, 50) == 50
    with pytest.raises(RequestError) as refused:
        fitted(group(None, 60, asked="max_completion_tokens"), 50, 50)
    assert refused.value.field == "max_completion_tokens"
    assert refused.value.message == (
        "must be at most 40 with these voices, got 50: voice 1 reads 60 of the context's 100 tokens"
    )


@pytest.mark.parametrize("own", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("blocks", [8, 9, 13])
def test_the_whole_group_fits_the_cache_and_one_token_more_would_not(own, blocks):
    of = group(None, 20, blocks=blocks)
    most = fitted(of, own, 60)

    def blocks_for(tokens: int) -> int:
        return sum(-(-(prompt + tokens) // 16) for prompt in (own, own, 20))

    assert blocks_for(most) <= blocks
    assert most == 60 or blocks_for(most + 1) > blocks


def test_what_can_never_be_kept_is_refused():
    with pytest.raises(RequestError) as refused:
        fitted(group(None, 64, blocks=5), 20, 1)
    assert refused.value.field == "contrast.against"
    assert "104 tokens together" in refused.value.message
    with pytest.raises(RequestError) as refused:
        fitted(group(None, asked="max_tokens", blocks=6), 20, 60)
    assert refused.value.field == "max_tokens"
    assert "96 tokens" in refused.value.message


def test_an_answer_that_may_not_be_so_short_is_refused():
    with pytest.raises(RequestError) as refused:
        fitted(group(60), 50, 50, least=45)
    assert refused.value.field == "min_tokens"
    assert fitted(group(60), 50, 50, least=40) == 40


@pytest.mark.parametrize("prompt", [{"prompt_embeds": 1}, {"prompt_token_ids": [1], "mm_kwargs": {}}])
def test_no_other_sequence_reads_embeddings_or_images(prompt):
    with pytest.raises(RequestError) as refused:
        group(None).fitted(prompt, SimpleNamespace(max_tokens=1, min_tokens=0))
    assert refused.value.field == "messages"
