"""Where the model's own logits can't be kept, a group's sampling must leave them alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from motet_decoding.contrast import Contrast
from motet_decoding.errors import RequestError
from motet_server.voices.edits import NoEdits, follows

NOTHING = {
    "logit_bias": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "structured_outputs": None,
    "allowed_token_ids": None,
    "bad_words": [],
    "min_tokens": 0,
}
EDITS = {"logit_bias": {5: 1.0}, "presence_penalty": -0.5, "frequency_penalty": 1, "repetition_penalty": 1.2}
MASKS = {"structured_outputs": object(), "allowed_token_ids": [1], "bad_words": ["a"], "min_tokens": 3}


def refused(measured: bool, **changes: object) -> str | None:
    try:
        NoEdits("it has no head", measured).check(SimpleNamespace(**{**NOTHING, **changes}))
    except RequestError as error:
        return error.field
    return None


@pytest.mark.parametrize("measured", [False, True])
def test_what_changes_logits_is_refused_and_what_changes_nothing_is_not(measured):
    assert refused(measured) is None
    for name, value in EDITS.items():
        assert refused(measured, **{name: value}) == name


def test_masks_count_only_where_predictions_are_measured():
    for name, value in MASKS.items():
        assert refused(False, **{name: value}) is None
        assert refused(True, **{name: value}) == name


def test_the_reason_is_told():
    with pytest.raises(RequestError, match="it has no head"):
        NoEdits("it has no head", False).check(SimpleNamespace(**{**NOTHING, **EDITS}))


def test_a_field_is_called_as_the_client_called_it_and_a_default_is_told_for_one():
    penalised = SimpleNamespace(**{**NOTHING, "repetition_penalty": 1.2})
    with pytest.raises(RequestError, match=r"model's own default here; send 1\.0"):
        NoEdits("so", False).check(penalised)
    with pytest.raises(RequestError) as sent:
        NoEdits("so", False, frozenset({"repetition_penalty"})).check(penalised)
    assert "default" not in sent.value.message
    for field in ("response_format", "tools", "structured_outputs"):
        with pytest.raises(RequestError) as refused:
            NoEdits("so", True, frozenset({field})).check(SimpleNamespace(**{**NOTHING, **MASKS}))
        assert refused.value.field == field


def test_a_strength_that_follows_the_predictions_measures_them():
    followed = {by: follows(Contrast(adapt=by)) for by in ("entropy", "divergence")}
    position = Contrast(adapt={"by": "position", "tokens": 3})
    assert (followed, follows(position), follows(Contrast())) == (
        {"entropy": True, "divergence": True},
        False,
        False,
    )


@pytest.mark.engine
def test_the_engine_takes_the_same_for_edits():
    """What is refused here is what the engine would need the model's own logits for, and nothing else."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from motet_decoding.engine.arguments import Heard, Member, Mix, engine_arguments
    from motet_decoding.engine.processor import ContrastProcessor

    asked = {**EDITS, **MASKS, "structured_outputs": StructuredOutputsParams(regex="a"), "bad_words": ["a"]}
    for adapt in (None, "entropy", "divergence"):
        contrast = Contrast(adapt=adapt)
        mix = Mix.of(contrast, (Heard(source="member", member=1),))
        extra = engine_arguments(mix, None, [Member(tokens=(1,))]).extra_args
        slots = SimpleNamespace(device="cpu")
        processor = ContrastProcessor(SimpleNamespace(instance_id=f"edits {adapt}"), slots)
        for name, value in {**asked, None: None}.items():
            sampling = SamplingParams(**({name: value} if name else {}), extra_args=extra)
            processor.add_request(0, sampling)
            assert processor.asking[0].edited == bool(name and refused(follows(contrast), **{name: value})), (
                name
            )
