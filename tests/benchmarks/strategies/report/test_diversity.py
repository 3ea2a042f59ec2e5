"""distinct-n and self-BLEU against values worked out by hand."""

from __future__ import annotations

import random
from math import exp

import pytest

from motet_benchmarks.strategies.figures import Table
from motet_benchmarks.strategies.report.diversity import (
    DRAWS,
    PROBLEMS,
    distinct,
    diversities,
    self_bleu,
    tokenise,
)
from motet_benchmarks.strategies.testing_runs import make_run, strategies


def test_words_and_signs_are_tokens():
    assert tokenise("It's 42, naïve!\n") == ["it", "'", "s", "42", ",", "naïve", "!"]


def test_distinct_counts_each_n_gram_once():
    texts = ["a b a b".split(), "a c".split()]
    assert distinct(texts, 1) == pytest.approx(3 / 6)  # a, b, c of six
    assert distinct(texts, 2) == pytest.approx(3 / 4)  # ab, ba, ac of ab, ba, ab, ac
    assert distinct(texts, 4) == 1.0
    assert distinct(texts, 5) is None


def test_self_bleu_of_equal_texts_is_1_and_needs_two():
    assert self_bleu([["a", "b"], ["a", "b"]]) == pytest.approx(1.0)
    assert self_bleu([["a"], []]) is None


def test_self_bleu_by_hand():
    # 1-grams: a, b of four; 2-grams: ab of three; no 3-gram of two, no 4-gram of one.
    expected = (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    assert self_bleu(["a b c d".split(), "a b x y".split()]) == pytest.approx(expected)


def test_a_match_counts_no_more_often_than_one_other_text_has_it():
    # "a a a" against "a" and "a a": two of three 1-grams, one of two 2-grams, no 3-gram; as short as the closest.
    long = (2 / 3 * 1 / 2 * 0.1 / 1) ** (1 / 3)
    middle, short = 1.0, 1.0  # both wholly within longer ones; "a" pays for its brevity against "a a"
    found = self_bleu([["a"] * 3, ["a"] * 2, ["a"]])
    # The closest reference of "a a" is as far above as below: the shorter counts, so that nothing is paid.
    assert found == pytest.approx((long + middle + short * exp(1 - 2 / 1)) / 3)


def test_one_pass_over_all_texts_finds_what_comparing_each_with_all_others_does():
    rng = random.Random(0)
    texts = [[rng.choice("abc") for _ in range(rng.randint(1, 9))] for _ in range(12)]
    naive = sum(bleu(text, texts[:place] + texts[place + 1 :]) for place, text in enumerate(texts)) / len(
        texts
    )
    assert self_bleu(texts) == pytest.approx(naive)


def bleu(text, references):
    product, orders = 1.0, min(4, len(text))
    for n in range(1, orders + 1):
        grams = [tuple(text[at : at + n]) for at in range(len(text) - n + 1)]
        most = {
            gram: max(
                sum(tuple(other[at : at + n]) == gram for at in range(len(other) - n + 1))
                for other in references
            )
            for gram in grams
        }
        matched = sum(min(grams.count(gram), most[gram]) for gram in set(grams))
        product *= (matched or 0.1) / len(grams)
    closest = min((len(other) for other in references), key=lambda each: (abs(each - len(text)), each))
    return exp(min(0.0, 1 - closest / len(text))) * product ** (1 / orders)


def test_draws_of_a_problem_are_compared_where_there_are_several():
    for draws, over in ((1, PROBLEMS), (3, DRAWS)):
        table = Table(*make_run(skills=strategies()[:2], problems=6, draws=draws))
        found = diversities(table)
        assert [each.over for each in found] == [PROBLEMS, over]  # the first is greedy
        assert all(each.self_bleu is not None and 0 < each.self_bleu < 1 for each in found)
