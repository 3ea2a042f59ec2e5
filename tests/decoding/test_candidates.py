"""Candidates from an engine that is played."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from vllm.entrypoints.generate.base.serving import GenerateBaseServing
from vllm.exceptions import GenerationError
from vllm.sampling_params import RequestOutputKind

from motet_decoding.best_of.candidate import seed_of
from motet_decoding.engine.arguments import Member, Mix, engine_arguments, ensure_engine_key, read_asked
from motet_decoding.engine.candidates import outputs_of

from .played import END, PROMPT, source


@pytest.mark.anyio
async def test_a_candidate_is_one_request_with_its_own_seed_and_all_else_the_same():
    made, engine = source(lambda begun, seed: f"s{seed}", logprobs=2, top_p=0.9, n=3, max_tokens=40)
    for index in range(3):
        candidate = await made.draw(index)
        assert candidate.text == f"s{seed_of(3, index)}"
        assert candidate.finish_reason == "stop"
        prompt, sampling, name, options = engine.asked[index]
        assert prompt is PROMPT
        assert (sampling.seed, sampling.n, sampling.top_p, sampling.logprobs) == (
            seed_of(3, index),
            1,
            0.9,
            2,
        )
        assert name == f"id-{index}"
        assert options == {"priority": 2, "lora_request": "l"}


@pytest.mark.anyio
async def test_log_probabilities_are_asked_for_only_where_they_are_needed():
    made, _ = source(lambda *_: "xy")
    assert (await made.draw(0)).logprobs is None
    made, _ = source(lambda *_: "xy", needs=["logprobs"])
    assert (await made.draw(0)).logprobs == (-0.5, -0.5, -0.5)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [RequestOutputKind.FINAL_ONLY, RequestOutputKind.DELTA])
async def test_prompt_log_probabilities_are_made_once_and_kept_to_the_end(kind):
    made, engine = source(lambda *_: "xy", prompt_logprobs=1, output_kind=kind)
    await made.draw(1)
    await made.draw(0)
    assert [sampling.prompt_logprobs for _, sampling, _, _ in engine.asked] == [None, 1]
    assert (made.output.request_id, made.output.prompt_logprobs) == ("id-0", [None, {6: "told"}])


@pytest.mark.anyio
async def test_going_on_reads_what_is_there_and_draws_what_is_left():
    whole = "0123456789"
    made, engine = source(lambda begun, seed: whole[len(begun) :], needs=["logprobs"], min_tokens=6)
    begun = await made.draw(1, tokens=4)
    assert (begun.text, begun.finish_reason) == ("0123", None)
    further = await made.draw(1, after=begun, part=1)
    assert (further.text, further.finish_reason) == (whole, "stop")
    assert further.logprobs == (-0.5,) * 11
    prompt, sampling, name, _ = engine.asked[1]
    assert prompt == {"type": "token", "prompt_token_ids": [5, 6, *map(ord, "0123")], "cache_salt": "mine"}
    assert (sampling.seed, sampling.max_tokens, sampling.min_tokens) == (seed_of(3, 1, 1), 16, 2)
    assert name == "id-1.1"


@pytest.mark.anyio
async def test_other_voices_with_prompts_of_their_own_go_on_as_well():
    whole = "0123456789"
    extra = engine_arguments(Mix(), None, [Member(tokens=(7, 8))]).extra_args
    made, engine = source(lambda begun, seed: whole[len(begun) :], extra_args=extra)
    await made.draw(1, after=await made.draw(1, tokens=4), part=1)
    asked = [read_asked(sampling.extra_args, ensure_engine_key()) for _, sampling, _, _ in engine.asked]
    assert [each.members[0].tokens for each in asked] == [(7, 8), (7, 8, *map(ord, "0123"))]


@pytest.mark.anyio
async def test_the_bound_of_an_answer_is_its_end_and_a_pause_is_not():
    made, _ = source(lambda *_: "0123456789", max_tokens=6)
    assert (await made.draw(0, tokens=5)).finish_reason is None
    assert (await made.draw(0, tokens=6)).finish_reason == "length"
    assert (await made.draw(0, tokens=50)).finish_reason == "length"


@pytest.mark.anyio
@pytest.mark.parametrize("include", [False, True])
async def test_a_stop_string_across_the_seam_ends_the_answer(include):
    whole = "one STOP two"
    made, _ = source(
        lambda begun, seed: whole[len(begun) :], stop=["STOP"], include_stop_str_in_output=include
    )
    begun = await made.draw(0, tokens=6)
    assert (begun.text, begun.finish_reason) == ("one ST", None)
    ended = await made.draw(0, after=begun, part=1)
    assert ended.text == ("one STOP" if include else "one ")
    assert (ended.finish_reason, ended.stop_reason) == ("stop", "STOP")


@pytest.mark.anyio
async def test_of_two_stop_strings_across_the_seam_the_one_that_is_complete_first_ends_the_answer():
    whole = "one STOP two"
    made, _ = source(lambda begun, seed: whole[len(begun) :], stop=["STOP t", "OP"])
    begun = await made.draw(0, tokens=7)
    ended = await made.draw(0, after=begun, part=1)
    assert (ended.text, ended.stop_reason) == ("one ST", "OP")


@pytest.mark.anyio
@pytest.mark.parametrize(("least", "text"), [(1, "a"), (2, "a#b"), (3, "a#b"), (4, "a#b#c"), (9, "a#b#c")])
async def test_no_stop_string_ends_an_answer_before_its_fewest_tokens(least, text):
    """As vLLM has it, which looks for none in the text of the first tokens: before the seam, on it, or behind."""
    whole = "a#b#c"
    made, _ = source(lambda begun, seed: whole[len(begun) :], stop=["#"], min_tokens=least)
    for part, cut in enumerate(range(1, 6)):
        begun = await made.draw(0, part=2 * part, tokens=cut)
        if begun.finish_reason is None:
            begun = await made.draw(0, after=begun, part=2 * part + 1)
        assert (begun.text, begun.finish_reason) == (text, "stop")
    step = await made.draw(1, until="c")
    assert step.text == text


@pytest.mark.anyio
async def test_no_part_is_asked_for_more_tokens_than_it_may_have():
    made, engine = source(lambda begun, seed: "0123456789"[len(begun) :], min_tokens=9)
    begun = await made.draw(0, tokens=4)
    await made.draw(0, after=begun, part=1, tokens=3)
    assert [(sampling.min_tokens, sampling.max_tokens) for _, sampling, *_ in engine.asked] == [
        (4, 4),
        (3, 3),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("ending", ["abort", "error"])
async def test_a_request_that_the_engine_gave_up_is_no_candidate(ending):
    made, engine = source(lambda *_: "half an ans")
    engine.ending = ending
    with pytest.raises(GenerationError, match=ending):
        await made.draw(0)


def test_vllm_tells_a_request_that_the_engine_gave_up_by_the_same_error():
    told = inspect.getsource(GenerateBaseServing._raise_if_error)
    assert 'finish_reason == "error"' in told
    assert "raise GenerationError(" in told


def test_the_most_tokens_must_be_known():
    with pytest.raises(ValueError, match="max_tokens"):
        source(lambda *_: "x", max_tokens=None)


@pytest.mark.anyio
async def test_a_step_ends_behind_its_mark_and_a_stop_string_ends_the_answer():
    whole = "first. second# third."
    made, _ = source(lambda begun, seed: whole[len(begun) :], stop=["#"], max_tokens=60)
    step = await made.draw(0, until=".")
    assert (step.text, step.finish_reason) == ("first.", None)
    ended = await made.draw(0, after=step, part=1, until=".")
    assert (ended.text, ended.finish_reason, ended.stop_reason) == ("first. second", "stop", "#")
    made, _ = source(lambda begun, seed: "end"[len(begun) :])
    assert (await made.draw(0, until=".")).finish_reason == "stop"


@pytest.mark.anyio
async def test_a_stream_is_given_back_as_it_came_under_its_new_number():
    made, _ = source(lambda *_: "xyz", output_kind=RequestOutputKind.DELTA)
    candidate = await made.draw(4)
    pieces = outputs_of(candidate, 1, made.output.outputs[0])
    assert [(piece.index, piece.text, piece.finish_reason) for piece in pieces] == [
        (1, "x", None),
        (1, "yz", "stop"),
    ]


@pytest.mark.anyio
async def test_what_was_put_together_is_given_back_in_one():
    whole = "0123456789"
    made, _ = source(lambda begun, seed: whole[len(begun) :], needs=["logprobs"])
    begun = await made.draw(0, tokens=4)
    (piece,) = outputs_of(await made.draw(0, after=begun, part=1), 2, made.output.outputs[0])
    assert (piece.index, piece.text, piece.finish_reason) == (2, whole, "stop")
    assert list(piece.token_ids) == [*map(ord, whole), END]
    assert len(piece.logprobs) == 11
    assert piece.cumulative_logprob == pytest.approx(-5.5)


@pytest.mark.anyio
async def test_a_cancelled_draw_is_aborted():
    made, engine = source(lambda *_: "forever")
    task = asyncio.ensure_future(made.draw(0))
    while not engine.asked:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert engine.aborted == ["id-0"]
