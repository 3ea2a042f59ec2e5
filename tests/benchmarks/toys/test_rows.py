from __future__ import annotations

from itertools import islice

import pytest

from motet_benchmarks.toys import Corpus, Recipe
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.corpus import conversations
from motet_benchmarks.toys.rows import Encoder, batches

TOKENIZER = make_tokenizer(Recipe())
ENCODER = Encoder(TOKENIZER)
TOLD = list(islice(conversations(Corpus(), seed=5), 1_000))


def test_encoding_is_what_the_chat_template_gives():
    for conversation in TOLD[:300]:
        expected = TOKENIZER.apply_chat_template(
            conversation.messages(), return_dict=True, return_assistant_tokens_mask=True
        )
        encoded = ENCODER.encode(conversation)
        assert encoded.ids == expected["input_ids"]
        assert encoded.written == [bool(mark) for mark in expected["assistant_masks"]]


def test_rows_hold_every_conversation_once_and_whole():
    batch = next(batches(TOLD, ENCODER, rows=8, row=128, prompt_weight=0.25))
    assert batch.ids.shape == batch.positions.shape == batch.weights.shape == (8, 128)
    whole = {tuple(ENCODER.encode(conversation).ids) for conversation in TOLD}
    found = 0
    for ids, positions in zip(batch.ids.tolist(), batch.positions.tolist(), strict=True):
        starts = [place for place, position in enumerate(positions) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            assert positions[start:end] == list(range(end - start))
            segment = tuple(ids[start:end])
            if set(segment) != {TOKENIZER.pad_token_id}:
                assert segment in whole
                found += len(segment)
    assert found == batch.tokens > 0.9 * 8 * 128


def test_weights_follow_who_wrote_and_spare_what_cannot_be_predicted():
    [conversation] = TOLD[:1]
    encoded = ENCODER.encode(conversation)
    length = len(encoded.ids)
    batch = next(batches([conversation] * 2, ENCODER, rows=1, row=2 * length, prompt_weight=0.25))
    expected = [0.0, *(1.0 if written else 0.25 for written in encoded.written[1:])]
    assert batch.weights[0].tolist() == expected * 2


def test_what_is_longer_than_a_row_is_left_out():
    lengths = [len(ENCODER.encode(conversation).ids) for conversation in TOLD]
    assert max(lengths) > 64
    kept = list(batches(TOLD, ENCODER, rows=2, row=64, prompt_weight=1.0))
    assert kept
    # A row is never filled by the middle of a conversation: each begins with the mark of a message.
    start = TOKENIZER.convert_tokens_to_ids("<|im_start|>")
    assert all((batch.ids[:, 0] == start).all() for batch in kept)


@pytest.mark.parametrize("seed", [0, 1])
def test_batches_are_decided_by_the_seed(seed: int):
    def first(seed: int):
        return next(batches(conversations(Corpus(), seed), ENCODER, rows=4, row=128, prompt_weight=0.1)).ids

    assert first(seed).equal(first(seed))
    assert not first(seed).equal(first(seed + 1))
