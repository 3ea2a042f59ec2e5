"""Strategies from words, files and options; a mistake is named with the place it was made in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.declare import built_in, named, read_file, read_option
from motet_benchmarks.strategies.records import Strategy
from motet_decoding.best_of.request import parse_best_of
from motet_decoding.contrast import Contrast, parse_contrast


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("plain", {"temperature": 0}),
        ("sampled", {"temperature": 1}),
        ("contrast", {"temperature": 0, "contrast": True}),
        ("contrast:base", {"temperature": 0, "contrast": {"against": "base"}}),
        ("contrast:motet-dpo@12", {"temperature": 0, "contrast": {"against": {"adapter": "motet-dpo@12"}}}),
        ("layers:low", {"temperature": 0, "contrast": {"against": {"layers": "low"}}}),
        ("best-of-8", {"temperature": 1, "best_of": {"n": 8}}),
        ("best-of-4:vote:reward", {"temperature": 1, "best_of": {"n": 4, "by": "vote:reward"}}),
    ],
)
def test_built_in_words_are_requests_that_the_server_can_read(word: str, body: dict[str, Any]):
    (strategy,) = named([word], {})
    assert (strategy.name, strategy.model, strategy.body()) == (word, None, body)
    if "contrast" in body:
        assert parse_contrast(body["contrast"], Contrast()) is not None
    if "best_of" in body:
        assert parse_best_of(body["best_of"]).n == body["best_of"]["n"]


@pytest.mark.parametrize("word", ["best-of-0", "best-of-", "layers:odd", "contrast:", "greedy"])
def test_other_words_are_no_strategies_but_models(word: str):
    assert built_in(word) is None
    (strategy,) = named([word], {})
    assert (strategy.model, strategy.body()) == (word, {"temperature": 0})


def test_a_preset_of_candidates_is_drawn_and_others_are_greedy():
    found = named(["sft:best-of-4", "sft:contrast"], {})
    assert [one.body() for one in found] == [{"temperature": 1}, {"temperature": 0}]


def test_models_have_slashes_too():
    mine = Strategy(name="mine", contrast={"strength": 2})
    words = ["org/model/mine", "org/model/best-of-2:reward:org/judge", "sft/contrast:base", "org/model"]
    found = named(words, {"mine": mine})
    assert [one.name for one in found] == words
    assert [one.model for one in found] == ["org/model", "org/model", "sft", "org/model"]
    assert found[0].contrast == {"strength": 2}
    assert found[1].best_of == {"n": 2, "by": "reward:org/judge"}


def test_a_file_declares_strategies_in_its_order(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "warm: {sampling: {temperature: 0.7, top_p: 0.9}}\n"
        "sharp: {model: motet-sft, contrast: {against: base, strength: 1}}\n"
        "none: {contrast: false}\n"
        "many: {best_of: 4, sampling: {temperature: 0.5}}\n"
    )
    found = read_file(file)
    assert list(found) == ["warm", "sharp", "none", "many"]
    assert found["warm"].body() == {"temperature": 0.7, "top_p": 0.9}
    assert (found["sharp"].model, found["sharp"].body()) == (
        "motet-sft",
        {"temperature": 0, "contrast": {"against": "base", "strength": 1}},
    )
    assert found["none"].body() == {"temperature": 0}
    assert found["many"].body() == {"temperature": 0.5, "best_of": 4}
    assert [one.greedy for one in found.values()] == [False, True, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML: "),
        ("\xff", "must hold strategies by name"),
        ("- plain", "must hold strategies by name"),
        ("", "must hold strategies by name"),
        ("a: 1", "a: Input should be a valid dictionary"),
        ("off: {}", "False must be a text to YAML"),
        ("a: {temperature: 1}", "a.temperature: Extra inputs are not permitted"),
        ("a: {best_of: many}", "a.best_of"),
        ("a: {sampling: {stop: 2020-02-02}}", "a: can't be said in JSON"),
        ("a: {contrast: {strength: .nan}}", "a: can't be said in JSON"),
        (f"{'a' * 121}: {{}}", "a name of 121 characters; at most 120"),
        ("a: {sampling: {seed: 1}}", "a.sampling.seed: decided by the benchmark"),
        ("a: {sampling: {contrast: true}}", "a.sampling.contrast: decided by the benchmark"),
    ],
)
def test_mistakes_in_a_file(content: str, message: str, tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=f"--strategies .*{message}"):
        read_file(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", "--strategy mine: must be NAME=JSON"),
        ("={}", "must be NAME=JSON"),
        ("mine={contrast: true}", "--strategy mine: not JSON"),
        ("mine=[]", "--strategy: mine: Input should be"),
        ('mine={"model": ""}', "--strategy: mine.model: "),
    ],
)
def test_mistakes_in_an_option(text: str, message: str):
    with pytest.raises(BenchmarkError, match=message):
        read_option(text)


def test_an_option_declares_one():
    assert read_option('mine={"best_of": {"n": 2}}').body() == {"temperature": 1, "best_of": {"n": 2}}
