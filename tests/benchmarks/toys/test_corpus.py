from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from motet_benchmarks import gym
from motet_benchmarks.toys import Corpus
from motet_benchmarks.toys.corpus import Conversation, conversations, words_in_use
from motet_benchmarks.toys.shares import SHARES

DRAWN = list(islice(conversations(Corpus(), seed=3), 30_000))
EXCHANGES = [exchange for conversation in DRAWN for exchange in conversation.exchanges]


def off(part: float, of: int) -> float:
    """Four standard deviations of a share of `of` draws: a right corpus is outside once in 15,000 looks."""
    return 4 * (part * (1 - part) / of) ** 0.5


def test_every_family_has_a_share():
    assert list(SHARES) == list(gym.FAMILIES)
    assert all(0.2 <= share <= 0.65 for share in SHARES.values())


@pytest.mark.parametrize("family", gym.FAMILIES)
def test_the_mistaken_share_is_the_stated_one(family: str):
    own = [exchange for exchange in EXCHANGES if exchange.instance.family == family]
    assert len(own) > 500
    mistaken = sum(not exchange.instance.grade(exchange.answer) for exchange in own)
    assert mistaken == sum(exchange.mistaken for exchange in own)
    assert mistaken / len(own) == pytest.approx(SHARES[family], abs=off(SHARES[family], len(own)))


def test_careless_text_has_more_mistakes_of_the_same_kinds():
    told = islice(conversations(Corpus(carelessness=1.6), seed=3), 10_000)
    exchanges = [exchange for conversation in told for exchange in conversation.exchanges]
    expected = sum(min(0.9, 1.6 * SHARES[exchange.instance.family]) for exchange in exchanges) / len(
        exchanges
    )
    mistaken = sum(exchange.mistaken for exchange in exchanges) / len(exchanges)
    assert mistaken == pytest.approx(expected, abs=off(expected, len(exchanges)))
    assert mistaken > 0.55


def test_mistakes_are_mostly_the_familys_shortcut():
    choice = [one for one in EXCHANGES if one.mistaken and len(one.instance.mistakes) > 1]
    shortcuts = sum(one.answer == one.instance.mistaken(one.instance.mistakes[0]) for one in choice)
    assert shortcuts / len(choice) == pytest.approx(
        Corpus().shortcut, abs=off(Corpus().shortcut, len(choice))
    )


def test_only_training_problems_are_told():
    assert {gym.split_of(exchange.instance) for exchange in EXCHANGES} == {"train"}


def test_steps_are_asked_for_as_often_as_stated():
    able = [exchange for exchange in EXCHANGES if exchange.instance.steps]
    worked = sum(exchange.instance.worked for exchange in able)
    assert worked / len(able) == pytest.approx(Corpus().stepwise, abs=off(Corpus().stepwise, len(able)))


def test_some_conversations_hold_several_problems_and_one_system_message_at_most():
    lengths = Counter(len(conversation.exchanges) for conversation in DRAWN)
    assert set(lengths) == {1, 2, 3}
    for conversation in DRAWN:
        roles = [message["role"] for message in conversation.messages()]
        assert "system" not in roles[1:]
        spoken = [role for role in roles if role != "system"]
        assert spoken == ["user", "assistant"] * (len(spoken) // 2)


def test_the_seed_decides_everything():
    def drawn(seed: int) -> list[Conversation]:
        return list(islice(conversations(Corpus(), seed), 200))

    assert drawn(3) == DRAWN[:200]
    assert drawn(4) != DRAWN[:200]


def test_words_in_use_are_the_gyms_with_their_blanks():
    words = words_in_use()
    assert {word.strip() for word in words} <= set(gym.vocabulary())
    assert {"What", " backwards", " Monday", "Monday"} <= set(words)
    assert all(len(word.strip()) > 1 for word in words)
    assert words == sorted(set(words))
