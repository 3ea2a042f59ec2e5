from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_decoding.best_of.bound import fewest_tokens
from motet_decoding.best_of.candidate import Candidate
from motet_decoding.best_of.drawing import draw_all
from motet_decoding.best_of.reject import draw_rejecting, how_many_go, worst
from motet_decoding.best_of.request import BestOf, Reject
from motet_decoding.best_of.testing import ScriptedSource

TEXTS = st.lists(st.text("abc", max_size=24), min_size=1, max_size=9)
REJECTS = st.builds(
    Reject,
    at=st.one_of(
        st.integers(1, 9), st.sets(st.integers(1, 30), min_size=1, max_size=4).map(sorted).map(tuple)
    ),
    share=st.floats(0.05, 0.95),
)


class Judge:
    """Scores texts by a hash (with many ties), and notes who was scored."""

    def __init__(self, worth=lambda text: crc32(text.encode()) % 5):
        self.worth = worth
        self.asked: list[list[Candidate]] = []

    async def __call__(self, candidates):
        self.asked.append(list(candidates))
        await asyncio.sleep(0)
        return [float(self.worth(candidate.text)) for candidate in candidates]


def run(texts, reject, *, most=25, judge=None, seed=None, keep=1):
    delays = random.Random(seed)
    source = ScriptedSource(
        dict(enumerate(texts)),
        most=most,
        delay=None if seed is None else lambda index, part: delays.randrange(9),
    )
    told: list[Candidate] = []
    drawn = asyncio.run(draw_rejecting(source, len(texts), reject, judge or Judge(), told.append, keep))
    return source, drawn, told


def vowels(text):
    return text.count("a")


def test_the_worst_half_goes_at_each_checkpoint():
    texts = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "abababababab", "bbbabbbbbbbb"]
    judge = Judge(vowels)
    source, drawn, told = run(texts, Reject(at=(4, 8)), judge=judge)
    assert [(each.candidate.index, each.candidate.text, each.score) for each in drawn.rejected] == [
        (1, "bbbb", 0.0),
        (3, "bbba", 1.0),
        (2, "abababab", 4.0),
    ]
    assert [(candidate.index, candidate.text) for candidate in drawn.candidates] == [(0, texts[0])]
    assert [[each.text for each in asked] for asked in judge.asked] == [
        ["aaaa", "bbbb", "abab", "bbba"],
        ["aaaaaaaa", "abababab"],
    ]
    assert drawn.tokens == source.tokens == 4 + 4 + 8 + 13
    assert source.draws == [
        *[(index, 0, 4) for index in range(4)],
        *[(0, 1, 4), (2, 1, 4)],
        (0, 2, 17),
    ]
    assert told == list(drawn.candidates)


def test_what_only_a_response_needs_isnt_kept_of_the_rejected():
    class Told(ScriptedSource):
        async def draw(self, index, **options):
            return replace(await super().draw(index, **options), logprobs=(-1.0,), entries=(0,), pieces=(0,))

    source = Told({0: "aaaaaa", 1: "bbbbbb"})
    drawn = asyncio.run(draw_rejecting(source, 2, Reject(at=2), Judge(vowels), lambda candidate: None))
    (gone,) = drawn.rejected
    assert (gone.candidate.logprobs, gone.candidate.entries, gone.candidate.pieces) == (None, None, ())
    assert drawn.candidates[0].pieces == (0,)


def test_a_finished_answer_may_go_and_is_scored_once():
    judge = Judge(vowels)
    _, drawn, told = run(["b", "aaa", "aababbbbbb", "babbabbb"], Reject(at=(4, 6), share=0.34), judge=judge)
    assert [(each.candidate.text, each.score) for each in drawn.rejected] == [("b", 0.0), ("babbab", 2.0)]
    assert [[each.text for each in asked] for asked in judge.asked] == [
        ["b", "aaa", "aaba", "babb"],
        ["aababb", "babbab"],
    ]
    assert [candidate.text for candidate in told] == ["aaa", "aababbbbbb"]


def test_nobody_goes_when_all_have_come_to_their_end():
    judge = Judge()
    _, drawn, _ = run(["aa", "b", ""], Reject(at=8), judge=judge)
    assert [candidate.text for candidate in drawn.candidates] == ["aa", "b", ""]
    assert judge.asked == []


def test_what_early_ends_leave_of_the_bound_goes_to_the_others():
    source, drawn, told = run(["b" * 9, "a", "c" * 9], Reject(at=20, max_total_tokens=15), most=30)
    # 5 each; the second takes 2 of them, and the 3 that it leaves are one more for the others, and one for nobody.
    assert [(each.text, each.finish_reason) for each in drawn.candidates] == [
        ("bbbbbb", "length"),
        ("a", "stop"),
        ("cccccc", "length"),
    ]
    assert drawn.tokens == source.tokens == 14
    assert sorted(candidate.index for candidate in told) == [0, 1, 2]


def test_the_bound_may_end_it_at_a_checkpoint():
    _, drawn, _ = run(
        ["a" * 9, "ba" * 5, "b" * 9, "b" * 9], Reject(at=(3, 6), max_total_tokens=13), judge=Judge(vowels)
    )
    assert [(each.text, each.finish_reason) for each in drawn.candidates] == [
        ("aaa", "length"),
        ("bab", "length"),
    ]
    assert drawn.tokens == 12


def test_a_bound_below_a_token_each_is_refused():
    with pytest.raises(ValueError, match="2 tokens in all are too few for 3 candidates"):
        run(["a", "b", "c"], Reject(at=2, max_total_tokens=2))


@pytest.mark.parametrize(
    ("asked", "most", "fewest"),
    [
        ({"n": 4, "reject": {"at": 16}}, 100, 64),
        ({"n": 4, "reject": {"at": [8, 16]}}, 100, 32),
        ({"n": 4, "reject": {"at": 100}}, 100, 4),
        ({"n": 6, "steps": {"width": 2}}, 100, 6),
        ({"n": 6}, 100, 6),
    ],
)
def test_fewest_tokens_of_a_bound(asked, most, fewest):
    assert fewest_tokens(BestOf.model_validate(asked), most) == fewest


@pytest.mark.parametrize(
    ("candidates", "share", "go"),
    [(1, 0.99, 0), (2, 0.5, 1), (3, 0.5, 1), (3, 0.999999999999, 2), (100, 0.29, 29), (10, 0.05, 0)],
)
def test_how_many_go(candidates, share, go):
    assert how_many_go(candidates, share) == go


@given(TEXTS, REJECTS, st.integers(1, 9))
def test_as_many_stay_as_are_wanted_back(texts, reject, wanted):
    keep = min(wanted, len(texts))
    _, drawn, _ = run(texts, reject, keep=keep)
    _, more, _ = run(texts, reject)
    assert len(drawn.candidates) >= keep
    assert {each.index for each in more.candidates} <= {each.index for each in drawn.candidates}


def test_when_only_the_wanted_are_left_nobody_is_scored():
    judge = Judge()
    _, drawn, _ = run(["a" * 9, "b" * 9, "c" * 9, "d" * 9], Reject(at=2, share=0.9), judge=judge, keep=3)
    assert (len(drawn.candidates), len(drawn.rejected), len(judge.asked)) == (3, 1, 1)


def test_of_equals_the_later_one_goes():
    assert worst([1.0, 0.0, 1.0, 0.0, 1.0], 0.4) == [3, 1]
    assert worst([1.0, 1.0, 1.0], 0.7) == [2, 1]


@given(TEXTS, REJECTS, st.integers(1, 25), st.integers())
def test_order_of_arrival_changes_nothing(texts, reject, most, seed):
    source, drawn, told = run(texts, reject, most=most)
    later, again, told_again = run(texts, reject, most=most, seed=seed)
    assert again == drawn
    assert later.draws == source.draws
    assert sorted(told, key=lambda each: each.index) == list(drawn.candidates)
    assert sorted(told_again, key=lambda each: each.index) == list(drawn.candidates)


@given(TEXTS, REJECTS, st.integers(1, 25), st.integers(0, 120))
def test_bound_holds_and_a_complete_candidate_is_left(texts, reject, most, above):
    bound = len(texts) + above
    judge = Judge()
    source, drawn, told = run(
        texts, reject.model_copy(update={"max_total_tokens": bound}), most=most, judge=judge
    )
    assert drawn.tokens == source.tokens <= bound
    assert drawn.candidates
    assert all(candidate.finish_reason in ("stop", "length") for candidate in drawn.candidates)
    assert sorted(told, key=lambda each: each.index) == list(drawn.candidates)
    whole = [each.index for asked in judge.asked for each in asked if each.finish_reason is not None]
    assert len(whole) == len(set(whole))
    going = [*(each.candidate.index for each in drawn.rejected), *(each.index for each in drawn.candidates)]
    assert sorted(going) == list(range(len(texts)))
    for candidate in drawn.candidates:
        text = texts[candidate.index]
        assert candidate.text == text[: len(candidate.text)]
        assert (candidate.finish_reason == "stop") == (len(candidate.token_ids) == len(text) + 1)
    # Nobody is held up while there is a token for each of those held up.
    held = [
        each for each in drawn.candidates if each.finish_reason == "length" and len(each.token_ids) < most
    ]
    assert not held or bound - drawn.tokens < len(held)


@given(TEXTS, REJECTS, st.integers(1, 25))
def test_without_a_share_it_is_drawing_all(texts, reject, most):
    tiny = reject.model_copy(update={"share": 0.9 / len(texts)})
    judge = Judge()
    source, drawn, _ = run(texts, tiny, most=most, judge=judge)
    plain = ScriptedSource(dict(enumerate(texts)), most=most)
    everything = asyncio.run(draw_all(plain, len(texts), lambda candidate: None))
    assert drawn == everything
    # Parts included: their seeds make them the same candidates of a sampling engine too.
    assert [draw[:2] for draw in source.draws] == [draw[:2] for draw in plain.draws]
    assert judge.asked == []


@given(TEXTS, REJECTS, st.integers(1, 25))
def test_as_a_plain_reckoning_says(texts, reject, most):
    """Who is left, from the whole texts and none of the machinery."""
    alive, gone = list(range(len(texts))), []
    for at in reject.checkpoints(most):
        if all(len(texts[index]) < at for index in alive):
            break
        ranked = sorted(alive, key=lambda index: (-Judge().worth(texts[index][:at]), index))
        stay = max(1, len(alive) - int(len(alive) * reject.share))
        gone += [(index, texts[index][:at]) for index in reversed(ranked[stay:])]
        alive = sorted(ranked[:stay])
    _, drawn, _ = run(texts, reject, most=most)
    assert [candidate.index for candidate in drawn.candidates] == alive
    assert [(each.candidate.index, each.candidate.text) for each in drawn.rejected] == gone


@given(TEXTS, REJECTS, st.randoms(use_true_random=False))
def test_the_best_so_far_always_stays(texts, reject, order):
    ranks = order.sample("ABCDEFGHI", len(texts))
    judge = Judge(lambda text: ord(text[0]))
    _, drawn, _ = run([rank + text for rank, text in zip(ranks, texts, strict=True)], reject, judge=judge)
    stay = sorted((candidate.text[0] for candidate in drawn.candidates), reverse=True)
    assert [*stay, *(each.candidate.text[0] for each in reversed(drawn.rejected))] == sorted(
        ranks, reverse=True
    )


def test_leaving_ends_every_draw():
    source = ScriptedSource(dict.fromkeys(range(8), "a" * 20), delay=lambda index, part: 10**9 if part else 1)

    async def leave():
        drawing = asyncio.create_task(
            draw_rejecting(source, 8, Reject(at=4), Judge(), lambda candidate: None)
        )
        while source.running < 4 or source.tokens < 32:
            await asyncio.sleep(0)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing

    asyncio.run(leave())
    assert source.running == 0
