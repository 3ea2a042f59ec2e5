"""What the options name together: sweeps, products, and which strategy comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.plan import ANYWHERE, BUNDLED, wanted
from motet_benchmarks.strategies.records import Strategy

MODELS = ["toy", "motet-sft", "org/big"]


def found(words: str = "", **options: object) -> tuple[Strategy, ...]:
    named = wanted(words.split(","), **{"default": ANYWHERE, **options}) if words else None  # type: ignore[arg-type]
    named = named or wanted([], **{"default": ANYWHERE, **options})  # type: ignore[arg-type]
    return named.of(MODELS)


def test_a_sweep_is_a_strategy_for_each_point():
    points = found("plain", sweeps=["contrast:base strength=0.25,1 x plausibility=0,0.1"])[1:]
    assert [one.name for one in points] == [
        "contrast:base strength=0.25 plausibility=0",
        "contrast:base strength=0.25 plausibility=0.1",
        "contrast:base strength=1 plausibility=0",
        "contrast:base strength=1 plausibility=0.1",
    ]
    assert {one.sweep for one in points} == {"contrast:base"}
    assert points[1].point == {"strength": 0.25, "plausibility": 0.1}
    assert points[1].contrast == {"against": "base", "strength": 0.25, "plausibility": 0.1}


def test_defaults_of_the_endpoint_and_short_forms_can_be_swept_over():
    contrast, best_of, warm = found(
        sweeps=["contrast strength=2", "few n=4", "motet-sft/sampled temperature=0.5"],
        options=['few={"best_of": 2}'],
    )[2:]
    assert contrast.contrast == {"strength": 2}
    assert (best_of.best_of, best_of.point, best_of.name) == ({"n": 4}, {"n": 4}, "few n=4")
    assert isinstance(best_of.best_of["n"], int)
    assert (warm.model, warm.sampling["temperature"]) == ("motet-sft", 0.5)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("contrast", "must look like"),
        ("contrast strength=1 x strength=2", "must look like"),
        ("contrast colour=1", "colour: unknown; known are strength"),
        ("contrast strength=some", "some aren't numbers"),
        ("best-of-2 n=1.5", "1.5 aren't whole numbers from 1"),
        ("best-of-2 n=0", "0 aren't whole numbers from 1"),
        ("contrast strength=1,nan", "1,nan aren't numbers"),
        ("contrast strength=inf", "inf aren't numbers"),
        ("plain strength=1", "--sweep plain: strength: the strategy has no contrast"),
        ("contrast n=4", "--sweep contrast: n: the strategy has no best_of"),
        ("contrast strength=1,1", "2 strategies are called contrast strength=1"),
    ],
)
def test_sweeps_that_cannot_be(sweep: str, message: str):
    with pytest.raises(BenchmarkError, match=message):
        found(sweeps=[sweep])


def test_every_strategy_with_every_model():
    crossed = found("plain,contrast", sweeps=["best-of-2 n=1,2"], models=["toy", "org/big"])
    assert [one.name for one in crossed] == [
        f"{model}/{name}"
        for model in ("toy", "org/big")
        for name in ("plain", "contrast", "best-of-2 n=1", "best-of-2 n=2")
    ]
    assert {(one.model, one.sweep) for one in crossed if one.sweep} == {
        ("toy", "toy/best-of-2"),
        ("org/big", "org/big/best-of-2"),
    }
    with pytest.raises(
        BenchmarkError, match="--across: the strategy motet-sft names the model motet-sft already"
    ):
        found("plain,motet-sft", models=["toy"])


def test_a_file_gives_all_it_declares_and_its_names_can_be_used(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("sharp: {contrast: {strength: 2}}\nlong: {sampling: {max_tokens: 500}}\n")
    strategies = found(f"plain,{file},motet-sft/sharp")
    assert [one.name for one in strategies] == ["plain", "sharp", "long", "motet-sft/sharp"]
    assert [one.sampling.get("max_tokens") for one in strategies] == [None, None, 500, None]
    assert strategies[3].contrast == {"strength": 2}


def test_what_comes_first_where_nothing_is_named():
    assert [one.name for one in found()] == list(ANYWHERE)
    assert [one.name for one in found(default=BUNDLED)] == list(BUNDLED)
    assert [one.name for one in found(options=["mine={}"])] == ["plain", "mine"]
    assert [one.name for one in found("mine,plain", options=["mine={}"])] == ["mine", "plain"]


@pytest.mark.parametrize("word", ["motet-sft:best-of-4", "motet-sft@12ab", "org/big/contrast"])
def test_presets_and_versions_of_models_are_models(word: str):
    assert found(word)[0].name == word


def test_a_word_that_is_nothing_is_told():
    with pytest.raises(
        BenchmarkError, match="--strategies contrst: no strategy, and no model of the endpoint"
    ):
        found("plain,contrst")
    with pytest.raises(BenchmarkError, match=r"a name of 12[0-9] characters; at most 120"):
        found(f"contrast:{'a' * 100}", sweeps=[f"contrast:{'a' * 100} strength=0.25"])
    with pytest.raises(BenchmarkError, match="2 strategies are called plain"):
        found("plain,plain")
