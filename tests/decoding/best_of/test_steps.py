from __future__ import annotations

import asyncio
import math
import random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_decoding.best_of.candidate import Candidate, total_tokens
from motet_decoding.best_of.request import Steps
from motet_decoding.best_of.steps import draw_steps, worth_of
from motet_decoding.best_of.testing import END, ScriptedSource

RULES = st.sampled_from(["last", "min", "product"])


def grown(begun, index, part):
    """A step of the random tree: one or two letters; every fourth one is the last."""
    number = crc32(f"{begun}/{index}/{part}".encode())
    return "abcd"[number % 4] * (1 + number // 4 % 2) + ("" if number // 8 % 4 == 0 else ".and so on")


class Judge:
    """Scores texts by a hash (with ties, above and below zero), and notes who was scored."""

    def __init__(self, worth=lambda text: crc32(text.encode()) % 9 - 4):
        self.worth = worth
        self.asked: list[list[Candidate]] = []

    async def __call__(self, candidates):
        self.asked.append(list(candidates))
        await asyncio.sleep(0)
        return [float(self.worth(candidate.text)) for candidate in candidates]


def run(script, n, *, most=100, judge=None, seed=None, **steps):
    delays = random.Random(seed)
    source = ScriptedSource(
        script, most=most, delay=None if seed is None else lambda index, part: delays.randrange(9)
    )
    told: list[Candidate] = []
    asked = Steps(until=".", **steps)
    drawn = asyncio.run(draw_steps(source, n, asked, judge or Judge(), told.append))
    assert told == list(drawn.candidates)
    return source, drawn


def tree(begun, index, part):
    """Two beams of two continuations: b. is best at first, and a complete answer comes from a."""
    return {
        ("", 0): "a.more",
        ("", 1): "c.more",
        ("", 2): "b.more",
        ("", 3): "d.more",
        ("b.", 0): "x.more",
        ("b.", 1): "y.more",
        ("a.", 2): "the end",
        ("a.", 3): "z.more",
        ("b.y.", 2): "p",
        ("b.y.", 3): "q.more",
    }[begun, index]


WORTHS = {
    "a.": 2,
    "b.": 3,
    "c.": 1,
    "d.": 0,
    "b.x.": 1,
    "b.y.": 4,
    "a.the end": 5,
    "a.z.": 3,
    "b.y.p": 2,
    "b.y.q.": 6,
}


def test_the_best_beams_go_on():
    judge = Judge(WORTHS.get)
    source, drawn = run(tree, 4, width=2, max_steps=3, judge=judge)
    assert [[each.text for each in asked] for asked in judge.asked] == [
        ["a.", "c.", "b.", "d."],
        ["b.x.", "b.y.", "a.the end", "a.z."],
        ["b.y.p", "b.y.q."],
    ]
    assert [(each.index, each.text, each.finish_reason) for each in drawn.candidates] == [
        (0, "b.y.q.", "length"),
        (1, "a.the end", "stop"),
    ]
    assert drawn.worths == (6.0, 5.0)
    assert [(each.candidate.index, each.candidate.text, each.score) for each in drawn.rejected] == [
        (2, "c.", 1.0),
        (3, "d.", 0.0),
        (4, "z.", 3.0),
        (5, "x.", 1.0),
        (6, "p", 2.0),
    ]
    assert drawn.tokens == source.tokens == 4 * 2 + (2 + 2 + 8 + 2) + (2 + 2)
    assert [each.candidate.token_ids for each in drawn.rejected][-1] == (ord("p"), END)
    assert [draw[:2] for draw in source.draws] == [
        *[(0, 0), (1, 0), (2, 0), (3, 0)],
        *[(0, 1), (1, 1), (2, 1), (3, 1)],
        *[(2, 2), (3, 2)],  # of the beam in the second place; the first is complete
    ]


@pytest.mark.parametrize(
    ("rule", "worth"),
    [("last", -1.0), ("min", -2.0), ("product", math.log(0.5 / (1 + math.exp(2)) / (1 + math.exp(1))))],
)
def test_worth_of_steps(rule, worth):
    assert worth_of([0.0, -2.0, -1.0], rule) == pytest.approx(worth, rel=1e-12)


def test_a_product_of_extreme_scores_is_a_number():
    assert worth_of([-1e6, 1e6, -1e6], "product") == pytest.approx(-2e6)
    assert worth_of([1e6], "product") == 0.0


def test_an_equal_continuation_gives_way_to_a_different_one():
    steps = {0: "a.more", 1: "a.more", 2: "b.more", 3: "c.more"}
    judge = Judge(WORTHS.get)
    _, drawn = run(lambda begun, index, part: steps[index], 4, width=2, max_steps=1, judge=judge)
    assert [each.text for each in drawn.candidates] == ["b.", "a."]
    assert [each.candidate.text for each in drawn.rejected] == ["a.", "c."]
    assert [each.text for each in judge.asked[0]] == ["a.", "b.", "c."]
    assert drawn.tokens == 8


def test_equal_continuations_fill_up_where_there_are_no_others():
    """So that as many answers are left as were asked for, and their ways may part."""

    def script(begun, index, part):
        return "a.more" if not begun else "bc"[index] + ".more"

    _, drawn = run(script, 2, width=2, max_steps=2, judge=Judge(len))
    assert [each.text for each in drawn.candidates] == ["a.b.", "a.c."]


def test_an_equal_continuation_stands_behind_others_of_its_worth():
    _, drawn = run({0: "a.", 1: "a.", 2: "b."}, 3, width=3, max_steps=1, judge=Judge(len))
    assert [each.text for each in drawn.candidates] == ["a.", "b.", "a."]


def test_of_equal_worth_the_better_parents_first_branch_stays():
    def script(begun, index, part):
        return {"": "vwxy"}.get(begun, "klmn")[index] + ".more"

    worths = {"v.": 0, "w.": 1, "x.": 1, "y.": 2}
    judge = Judge(lambda text: worths.get(text, 5))
    _, drawn = run(script, 4, width=2, max_steps=2, judge=judge)
    assert [each.text for each in judge.asked[1]] == ["y.k.", "y.l.", "w.m.", "w.n."]
    assert [each.text for each in drawn.candidates] == ["y.k.", "y.l."]


def test_a_step_that_ends_with_the_last_token_is_the_last():
    source, drawn = run({0: "ab.cd"}, 1, width=1, most=3)
    assert [(each.text, each.finish_reason) for each in drawn.candidates] == [("ab.", "length")]
    assert len(source.draws) == 1


def test_a_bound_below_a_token_each_is_refused():
    with pytest.raises(ValueError, match="3 tokens in all are too few for 4 candidates"):
        run(tree, 4, width=2, max_total_tokens=3)


def reference(n, width, rule, max_steps, most):
    """The search again, on whole paths and nothing else: (text, complete, scores), the best first."""

    def worth(scores):
        if rule == "product":
            return math.log(math.prod(1 / (1 + math.exp(-score)) for score in scores))
        return {"last": scores[-1], "min": min(scores)}[rule]

    score, branches, dropped, tokens = Judge().worth, n // width, 0, 0
    beams = [("", False, [])]
    for step in range(max_steps):
        pool = []
        for slot, (text, complete, scores) in enumerate(beams):
            if complete:
                pool.append((text, complete, scores))
                continue
            for branch in range(branches if step else n):
                more = grown(text, slot * branches + branch, step)
                step_text = more.partition(".")[0] + "." if "." in more else more
                whole = (text + step_text)[:most]
                ended = "." not in more and len(text + more) < most
                tokens += len(whole) - len(text) + ended
                pool.append((whole, ended or len(whole) == most, [*scores, score(whole)]))
        # An answer that ended has a token that its text doesn't show.
        names = [(text, complete and len(text) < most) for text, complete, _ in pool]
        firsts = [place for place, name in enumerate(names) if names.index(name) == place]
        others = [place for place in range(len(pool)) if place not in firsts]
        ranked = [
            sorted(places, key=lambda place: -round(worth(pool[place][2]), 9)) for places in (firsts, others)
        ]
        staying = (ranked[0] + ranked[1])[:width]
        beams = [pool[place] for place in sorted(staying, key=lambda place: -round(worth(pool[place][2]), 9))]
        dropped += len(pool) - len(beams)
        if all(complete for _, complete, _ in beams):
            break
    return [(text, worth(scores)) for text, _, scores in beams], dropped, tokens


@given(st.integers(1, 4), st.integers(1, 4), RULES, st.integers(1, 6), st.integers(1, 14))
def test_as_a_brute_force_search_finds(width, branches, rule, max_steps, most):
    expected, dropped, tokens = reference(width * branches, width, rule, max_steps, most)
    _, drawn = run(grown, width * branches, width=width, score=rule, max_steps=max_steps, most=most)
    assert [candidate.text for candidate in drawn.candidates] == [text for text, _ in expected]
    assert drawn.worths == pytest.approx([worth for _, worth in expected], rel=1e-9, abs=1e-12)
    assert (len(drawn.rejected), drawn.tokens) == (dropped, tokens)
    assert total_tokens([each.candidate for each in drawn.rejected]) <= tokens


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    RULES,
    st.integers(1, 6),
    st.integers(1, 14),
    st.integers(0, 90),
    st.integers(),
)
def test_bound_holds_and_order_of_arrival_changes_nothing(
    width, branches, rule, max_steps, most, above, seed
):
    n = width * branches
    asked = {
        "width": width,
        "score": rule,
        "max_steps": max_steps,
        "most": most,
        "max_total_tokens": n + above,
    }
    judge = Judge()
    source, drawn = run(grown, n, judge=judge, **asked)
    _, later = run(grown, n, seed=seed, **asked)
    assert later == drawn
    assert drawn.tokens == source.tokens <= n + above
    assert [candidate.index for candidate in drawn.candidates] == list(range(width))
    assert list(drawn.worths) == sorted(drawn.worths, reverse=True)
    for candidate in drawn.candidates:
        assert candidate.finish_reason == ("stop" if candidate.token_ids[-1] == END else "length")
    assert [each.candidate.index for each in drawn.rejected] == list(
        range(width, width + len(drawn.rejected))
    )
    whole = [each.token_ids for step in judge.asked for each in step if each.finish_reason is not None]
    assert len(whole) == len(set(whole))


def test_leaving_ends_every_draw():
    source = ScriptedSource(tree, delay=lambda index, part: 10**9 if part else index)

    async def leave():
        drawing = asyncio.create_task(
            draw_steps(source, 4, Steps(width=2, until="."), Judge(WORTHS.get), lambda candidate: None)
        )
        while source.running < 4 or source.tokens < 8:
            await asyncio.sleep(0)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing

    asyncio.run(leave())
    assert source.running == 0
