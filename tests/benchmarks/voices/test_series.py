"""The table of settings: every one is a request that the contract takes, and says what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motet_benchmarks import gym
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.voices.plan import FOCUS, Plan, named_series
from motet_benchmarks.voices.series import BASE, LOOKUPS, RULES, SERIES, SFT, Setting, Without
from motet_decoding.contrast import Contrast, Formula, parse_contrast


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_every_setting_is_a_contrast_that_the_server_can_read(series):
    problems = gym.instances("test", count=1, seed=0, families=series.families or tuple(gym.FAMILIES)[:2])
    for setting in series.settings.values():
        for problem in problems:
            read = parse_contrast(setting.contrast(problem), Contrast())
            assert read is not None
            assert setting.formula == Formula.model_validate(
                {name: getattr(read, name) for name in Formula.model_fields}
            )
            assert setting.plain.contrast(problem) is None
    assert series.fixed is None or series.fixed in series.settings


def test_names_differ_and_so_do_the_settings_of_a_series():
    assert len({series.name for series in SERIES}) == len(SERIES)
    assert not any("," in series.name for series in SERIES)  # --series parts them there
    for series in SERIES:
        assert len({setting.key for setting in series.settings.values()}) == len(series.settings)


def test_a_voice_without_a_part_reads_everything_else():
    for problem in gym.instances("test", count=2, seed=0, families=RULES):
        told = Setting(BASE, Without.SYSTEM, Formula()).contrast(problem)
        assert told is not None
        assert told["against"]["messages"] == problem.messages()[1:]
        assert problem.messages()[0]["role"] == "system"
    for problem in gym.instances("test", count=2, seed=0, families=LOOKUPS):
        told = Setting(BASE, Without.INPUT, Formula()).contrast(problem)
        assert told is not None
        assert told["against"]["messages"] == [{"role": "user", "content": problem.instruction}]
    with pytest.raises(ValueError, match="problems have no system"):
        Without.SYSTEM.messages(gym.instances("test", count=1, seed=0, families=["addition"])[0])


def test_equal_settings_of_different_series_are_asked_once():
    swept, adapted = (
        next(one for one in SERIES if one.name == name)
        for name in ("SFT against base", "adaptive: SFT against base")
    )
    assert swept.settings["s = 1"].key == adapted.settings["s = 1"].key
    assert swept.settings["s = 1"].key != adapted.settings["s = 1, by entropy"].key
    assert Setting(SFT, Without.SYSTEM, Formula()).key != Setting(SFT, Without.INPUT, Formula()).key


def test_a_series_on_few_families_gets_more_problems_of_each():
    plan = replace(Plan(), count=2, tuning=1)
    assert len(plan.problems("test", RULES)) == 2 * FOCUS * len(RULES)
    assert len(plan.problems("validation", None)) == len(gym.FAMILIES)
    assert all(problem.worked for problem in plan.stepwise())


def test_series_are_taken_by_name():
    first, second = SERIES[:2]
    assert named_series([second.name, first.name]) == (first, second)
    with pytest.raises(BenchmarkError, match="--series: unknown nobody; known are SFT against base"):
        named_series(["nobody"])
