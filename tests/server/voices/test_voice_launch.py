"""What a start makes of --max-voices and --layers, and what it says of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from motet_decoding.contrast import Contrast
from motet_decoding.errors import LaunchError
from motet_decoding.layers import NOT_ASKED
from motet_decoding.testing import byte_tokenizer, llama_config, write_model
from motet_server.presets import check_presets, collect_presets
from motet_server.voices.launch import prepare_voices, read_layers, voice_line
from motet_server.voices.settings import VoiceSettings

THERE: dict[str, Any] = {"no_groups": None, "no_layers": None, "depth": 6}


@pytest.mark.parametrize(
    ("text", "layers"), [("none", "none"), ("all", "all"), ("low", "low"), ("2", [2]), ("0,4,12", [0, 4, 12])]
)
def test_layers_are_read_as_they_are_written(text, layers):
    assert read_layers(text) == layers


@pytest.mark.parametrize("text", ["", "middle", "1,", "1, 2", "-1", "1-3", "1024", "٣"])
def test_what_names_no_layers_is_refused(text):
    with pytest.raises(LaunchError, match="--layers: must be none, all, low, high, or numbers"):
        read_layers(text)


@pytest.mark.parametrize(
    ("settings", "adapters", "line"),
    [
        (
            {**THERE, "layers": (0, 1, 2, 4)},
            True,
            "up to 4 a request: base, adapters, prompts; layers 0-2,4",
        ),
        ({**THERE, "most": 2, "no_layers": NOT_ASKED}, False, "up to 2 a request: prompts"),
        (
            {**THERE, "most": 2, "no_layers": "it has none"},
            False,
            "up to 2 a request: prompts; no layers: it has none",
        ),
        (
            {**THERE, "no_groups": "it drafts", "layers": (5,)},
            True,
            "up to 4 a request: layers 5; no other sequences: it drafts",
        ),
        ({"no_groups": "it drafts", "no_layers": "it was"}, True, "none: it drafts"),
        ({"most": 0}, True, "none (--max-voices 0)"),
    ],
)
def test_the_line_says_what_can_be_heard_or_why_nothing_can(settings, adapters, line):
    assert voice_line(VoiceSettings(**settings), adapters=adapters) == line


def test_presets_name_voices_that_will_be_heard():
    presets = collect_presets(
        None,
        ('base={"contrast": {"against": "base"}}', 'deep={"contrast": {"against": {"layer": 7}}}'),
        defaults=Contrast(),
        amateur=False,
        most=1,
    )
    assert list(presets) == ["base", "deep"]
    check_presets({"base": presets["base"]}, VoiceSettings(**THERE), amateur=False)
    with pytest.raises(LaunchError, match=r"preset deep: contrast\.against\.layer: must be below 6"):
        check_presets(presets, VoiceSettings(**THERE), amateur=False)
    with pytest.raises(LaunchError, match=r"preset base: .*--max-voices"):
        check_presets(presets, VoiceSettings(most=0), amateur=False)


def test_a_preset_that_no_request_could_use_is_refused():
    position = '{"against": "base", "adapt": {"by": "position", "tokens": 5}}'
    best_of = '{"n": 2, "by": "likelihood", "reject": {"at": 2}}'
    options = (f'parts={{"contrast": {position}, "best_of": {best_of}}}',)
    presets = collect_presets(None, options, defaults=Contrast(), amateur=False, most=8)
    with pytest.raises(LaunchError, match=r"preset parts: contrast\.adapt: .*best_of\.reject"):
        check_presets(presets, VoiceSettings(**THERE), amateur=False)


@pytest.mark.engine
def test_the_engine_is_told_of_the_voices_and_the_server_of_what_came_of_it(tmp_path):
    tokenizer = byte_tokenizer()
    model = write_model(tmp_path, llama_config(32, 4, vocab_size=len(tokenizer)), seed=1, tokenizer=tokenizer)
    options = SimpleNamespace(hf_overrides={}, logits_processors=None, scheduler_cls=None, enforce_eager=True)
    voices = prepare_voices(3, [0, 2], str(model), options)
    assert (voices.most, voices.no_groups, voices.no_layers, voices.no_edits) == (3, None, None, None)
    assert (voices.layers, voices.depth, voices.tied) == ((0, 2), 4, False)
    assert options.scheduler_cls is not None
    assert options.hf_overrides["motet"]["layers"] == [0, 2]
    with pytest.raises(LaunchError, match="no layer 4"):
        prepare_voices(3, [4], str(model), options)
    plain = SimpleNamespace(scheduler_cls=None)
    assert prepare_voices(0, "none", "nowhere", plain).most == 0
    assert vars(plain) == {"scheduler_cls": None}
