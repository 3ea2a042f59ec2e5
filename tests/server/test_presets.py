from __future__ import annotations

from pathlib import Path

import pytest

from motet_decoding.best_of.request import BestOf
from motet_decoding.contrast import Contrast
from motet_decoding.errors import LaunchError
from motet_server.presets import collect_presets, find_preset, kind_of_preset
from motet_server.settings import Preset

DEFAULTS = Contrast(strength=0.7)


def collect(tmp_path: Path, text: str | None = None, options: tuple[str, ...] = (), *, amateur: bool = True):
    file = None
    if text is not None:
        file = tmp_path / "presets.yaml"
        file.write_text(text)
    return collect_presets(file, options, defaults=DEFAULTS, amateur=amateur, most=64)


def test_a_server_with_an_amateur_has_the_default_preset_and_one_without_has_none(tmp_path):
    assert {name: preset.contrast for name, preset in collect(tmp_path).items()} == {"contrast": DEFAULTS}
    assert collect(tmp_path, amateur=False) == {}


def test_a_preset_fills_what_it_does_not_name_from_the_servers_defaults(tmp_path):
    presets = collect(tmp_path, "sharp: {contrast: {plausibility: 0.3}}\n")
    assert presets["sharp"].contrast == Contrast(strength=0.7, plausibility=0.3)


def test_the_command_line_wins_over_the_file_and_both_over_the_default(tmp_path):
    presets = collect(
        tmp_path,
        "contrast: {contrast: {strength: 1}}\nsharp: {contrast: {strength: 2}}\n",
        ('sharp={"contrast": {"strength": 3}}',),
    )
    assert {name: preset.contrast.strength for name, preset in presets.items()} == {"contrast": 1, "sharp": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sharp: {contrast: {strenght: 1}}", "sharp.contrast.strenght"),
        ("sharp: {contrast: {strength: -1}}", "sharp.contrast.strength"),
        ("sharp: {contrast: {strength: .nan}}", "sharp.contrast.strength"),
        ("sharp: {contrast: false}", "sharp.contrast"),
        ("sharp: {}", "sharp.contrast"),
        ("sharp: {speed: 3}", "sharp.speed"),
        ("best: {best_of: {n: 0}}", "best.best_of.n"),
        ("best: {best_of: {n: 65}}", "--max-candidates 64"),
        ("best: {best_of: true}", "best.best_of"),
        ("sharp: 3", "sharp: must be an object"),
        ("'a b': {contrast: true}", "'a b'"),
        ("3: {contrast: true}", "3"),
        ("- sharp", "presets by name"),
        ("sharp: [", "not YAML"),
        ("sharp: {contrast: true}\nsharp: {contrast: true}", "'sharp' twice"),
    ],
)
def test_a_bad_file_is_refused_naming_it_and_the_key(tmp_path, text, told):
    with pytest.raises(LaunchError) as refused:
        collect(tmp_path, text)
    assert "presets.yaml" in str(refused.value)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("sharp", "NAME=JSON"),
        ("sharp={", "not JSON"),
        ('sharp={"contrast": {"form": "x"}}', "sharp.contrast.form"),
    ],
)
def test_a_bad_option_is_refused_naming_it(tmp_path, option, told):
    with pytest.raises(LaunchError, match="--preset") as refused:
        collect(tmp_path, options=(option,))
    assert told in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LaunchError, match=r"nowhere\.yaml"):
        collect_presets(tmp_path / "nowhere.yaml", (), defaults=DEFAULTS, amateur=True, most=64)


def test_a_preset_that_needs_an_amateur_is_refused_on_a_server_without_one(tmp_path):
    with pytest.raises(LaunchError, match="--amateur"):
        collect(tmp_path, options=('sharp={"contrast": true}',), amateur=False)


def test_a_preset_may_choose_and_contrast(tmp_path):
    presets = collect(tmp_path, "best: {best_of: {n: 4, by: vote}}\nboth: {contrast: true, best_of: 2}\n")
    assert presets["best"] == Preset(best_of=BestOf(n=4, by="vote"))
    assert presets["both"] == Preset(contrast=DEFAULTS, best_of=BestOf(n=2))
    alone = collect(tmp_path, options=('best={"best_of": {"n": 4}}',), amateur=False)
    assert alone == {"best": Preset(best_of=BestOf(n=4))}


def test_best_of_any_number_is_a_preset_where_there_is_a_reward(tmp_path):
    presets = collect(tmp_path, "best-of-2: {best_of: {n: 2, by: vote}}")
    assert find_preset("best-of-8", presets, lambda: True) == Preset(best_of=BestOf(n=8))
    assert find_preset("best-of-2", presets, lambda: True) == presets["best-of-2"]
    for name in ("best-of-0", "best-of-", "best-of-08", "best-of-8x", "best-of-4097", "best-of-9999"):
        assert find_preset(name, presets, lambda: True) is None
    assert find_preset("best-of-8", presets, lambda: False) is None
    # Metrics know the owner's presets by name, and not by the number that a client thinks of.
    assert [kind_of_preset(name, presets) for name in ("best-of-2", "best-of-17", None)] == [
        "best-of-2",
        "best-of-N",
        None,
    ]
