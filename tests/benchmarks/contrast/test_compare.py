from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from motet_benchmarks import gym
from motet_benchmarks.contrast import Questions, compare, measure, report
from motet_benchmarks.contrast.ask import Reply
from motet_benchmarks.contrast.figures import line, lines, paired
from motet_benchmarks.contrast.run import Measured
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import circumstances
from motet_benchmarks.pair import Pair
from motet_benchmarks.statistics import share
from motet_benchmarks.testing import Fake, running
from motet_benchmarks.trials import PLAUSIBILITIES, STRENGTHS, Trial, best

FIRST, SECOND = list(gym.FAMILIES)[:2]
QUESTIONS = Questions(count=6, families=(FIRST, SECOND), concurrency=4, tuning=3)


def knowing(questions: Questions, right: Any) -> Fake:
    """An endpoint that knows the answer where `right(instance, contrast)`, else takes the shortcut."""
    known = {
        json.dumps(instance.messages()): instance
        for split in ("test", "validation")
        for instance in questions.problems(split)
    }

    def reply(body: dict[str, Any]) -> str:
        instance = known[json.dumps(body["messages"])]
        return instance.answer if right(instance, body.get("contrast")) else instance.mistakes[0].text

    return Fake(reply=reply, seconds=lambda body: 0.01)


async def compared(questions: Questions, fake: Fake) -> Measured:
    with running(fake):
        async with Endpoint(fake.url) as endpoint:
            return await compare(questions, endpoint)


@pytest.mark.anyio
async def test_gains_and_losses_are_told_apart_by_family():
    # Plain knows the second family only; contrast gains the first one and loses the second.
    fake = knowing(QUESTIONS, lambda instance, contrast: (instance.family == FIRST) == bool(contrast))
    fake.gathers = 4
    measured = await compared(QUESTIONS, fake)
    overall, first, second = lines(measured.outcomes)
    assert (first.name, first.plain.right, first.contrast.right, first.plain.of) == (FIRST, 0, 6, 6)
    assert (first.difference.gains, first.difference.losses, first.verdict) == (6, 0, "better")
    assert (second.difference.gains, second.difference.losses, second.verdict) == (0, 6, "worse")
    assert (overall.difference.value, overall.verdict) == (0.0, "no clear difference")
    assert fake.busiest == 4
    assert all(body["temperature"] == 0 and body["max_tokens"] == 128 for body in fake.bodies)
    assert [body.get("contrast") for body in fake.bodies] == [None] * 12 + [True] * 12
    assert measured.contrast == {"strength": 0.5}


@pytest.mark.anyio
async def test_the_sweep_chooses_on_the_validation_split_alone():
    questions = Questions(count=2, families=(FIRST,), sweep=True, tuning=4)
    at = {"strength": 1.0, "plausibility": 0.3}
    fake = knowing(questions, lambda instance, contrast: contrast and {**contrast, **at} == contrast)
    measured = await compared(questions, fake)
    assert {name: measured.contrast[name] for name in at} == at
    assert len(measured.trials) == len(STRENGTHS) * len(PLAUSIBILITIES)
    assert [trial.share.right for trial in measured.trials].count(4) == 1
    validation = {json.dumps(instance.messages()) for instance in questions.problems("validation")}
    swept = fake.bodies[: 12 * 4]
    assert {json.dumps(body["messages"]) for body in swept} == validation
    assert validation.isdisjoint(json.dumps(body["messages"]) for body in fake.bodies[12 * 4 :])


def test_of_equal_trials_the_first_is_best():
    trials = [Trial(s, 0.1, share([True] * right + [False])) for s, right in ((0.25, 1), (0.5, 3), (1.0, 3))]
    assert best(trials).strength == 0.5


def test_every_problem_needs_both_replies():
    instances = QUESTIONS.problems("test")
    reply = Reply("", False, 1, None)
    with pytest.raises(ValueError, match="shorter"):
        paired(instances, [reply] * 12, [reply] * 11)
    with pytest.raises(ValueError, match="at least one"):
        line("nothing", [])


@pytest.mark.anyio
async def test_files_hold_what_was_measured(tmp_path: Path):
    questions = Questions(count=5, families=(FIRST, SECOND), sweep=True, tuning=1)
    measured = await compared(questions, knowing(questions, lambda instance, contrast: bool(contrast)))
    grids, paths = report.write(
        tmp_path, questions, measured, circumstances(["bench", "contrast", "--sweep"])
    )
    facts = json.loads(paths[0].read_text())
    assert facts["overall"]["plain"]["right"] == 0
    assert facts["overall"]["contrast"]["right"] == 10
    assert [family["name"] for family in facts["families"]] == [FIRST, SECOND]
    assert len(facts["trials"]) == 12
    with paths[1].open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert [row["contrast"] for row in rows] == [instance.answer for instance in questions.problems("test")]
    assert {row["plain_right"] for row in rows} == {"False"}
    page = paths[2].read_text()
    assert len(grids) == 2
    assert all(grid.markdown() in page for grid in grids)
    assert (
        "| all families | 10 | 0.0 [0.0, 27.8] | 100.0 [72.2, 100.0] | +100.0 [+52.1, +100.0] | 10 | 0 | better |"
        in page
    )
    assert paths[3].read_bytes().startswith(b"\x89PNG")


@pytest.mark.anyio
async def test_a_server_without_contrast_is_not_taken_for_one(tmp_path: Path):
    with running(Fake(contrasts=False)) as fake, pytest.raises(BenchmarkError, match="without the contrast"):
        await measure(QUESTIONS, Pair(), where=circumstances(), out=tmp_path, url=fake.url)
    assert list(tmp_path.iterdir()) == []


def test_questions_that_cannot_be_asked():
    with pytest.raises(BenchmarkError, match="--families: unknown juggling"):
        Questions(families=("juggling",))
    from motet_decoding.contrast import Contrast

    with pytest.raises(BenchmarkError, match="--sweep"):
        Questions(sweep=True, contrast=Contrast())
