"""Both faces of the logits processor against plain calls of the kernel, with vLLM's own types and no engine."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import AMATEUR, Asked, Heard, Mix, engine_arguments, ensure_engine_key
from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of
from motet_decoding.reference import contrast_scores

VOCAB = 16
STRONG, WEAK = (
    Contrast(strength=2.0, plausibility=0.0),
    Contrast(strength=0.3, plausibility=0.0, form="ratio"),
)
PLAIN = SamplingParams()


#: Against the next sequence of a group; the same, and the amateur; against layers.
BESIDE = Mix(strength=1.5, plausibility=0.0, voices=(Heard(source="member", member=1),))
BOTH = Mix(strength=1.0, plausibility=0.0, voices=(Heard(source="member", member=1), AMATEUR))
EARLY = Mix(
    plausibility=0.0, voices=(Heard(source="layer", layers=(6, 2)), Heard(source="layer", layers=(4,)))
)


def asking(contrast, **params):
    return SamplingParams(extra_args=engine_arguments(contrast).extra_args, **params)


def in_group(number, member=0, contrast=None, **params):
    asked = Asked(contrast=contrast, group=number, member=member)
    key = ensure_engine_key()
    return SamplingParams(extra_args={key: asked.model_dump_json(exclude_none=True)}, **params)


@pytest.fixture
def config():
    ensure_engine_key()
    return SimpleNamespace(instance_id=uuid.uuid4().hex)


@pytest.fixture
def stage(config):
    stage = stage_of(config)
    stage.head = lambda hidden: hidden  # the "hidden states" of these tests are the amateur's logits
    return stage


def update(size, *, removed=(), added=(), moved=()):
    return BatchUpdate(
        batch_size=size, removed=removed, added=[(row, params, [1], []) for row, params in added], moved=moved
    )


def expected(expert, amateur, asked):
    rows = [
        expert[i] if c is None else contrast_scores(expert[i], amateur[i], c) for i, c in enumerate(asked)
    ]
    return torch.stack(rows).softmax(-1)


def check(scores, expert, amateur, asked):
    torch.testing.assert_close(scores.softmax(-1), expected(expert, amateur, asked))
    for row, contrast in enumerate(asked):
        assert contrast is not None or torch.equal(scores[row], expert[row])


def apply_v1(processor, stage, asked):
    expert, amateur = torch.randn(len(asked), VOCAB), torch.randn(len(asked), VOCAB)
    stage.hidden = amateur
    check(processor.apply(expert.clone()), expert, amateur, asked)


def test_a_forged_argument_is_refused_where_requests_come_in():
    ContrastProcessor.validate_params(asking(STRONG))
    ContrastProcessor.validate_params(SamplingParams(extra_args={"theirs": 1}))
    with pytest.raises(ValueError, match="reserved for the server"):
        ContrastProcessor.validate_params(SamplingParams(extra_args={"motet-forged": "{}"}))


def test_v1_follows_the_batch(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(3, added=[(0, PLAIN), (1, asking(STRONG)), (2, asking(WEAK))]))
    apply_v1(processor, stage, [None, STRONG, WEAK])
    processor.update_state(None)
    apply_v1(processor, stage, [None, STRONG, WEAK])
    processor.update_state(update(3, moved=[(0, 2, MoveDirectionality.SWAP)]))
    apply_v1(processor, stage, [WEAK, STRONG, None])
    processor.update_state(update(2, removed=[0], moved=[(2, 0, MoveDirectionality.UNIDIRECTIONAL)]))
    apply_v1(processor, stage, [None, STRONG])
    processor.update_state(update(2, added=[(1, PLAIN)]))  # replaces the last asking request
    assert not stage.asking
    apply_v1(processor, stage, [None, None])


def test_v1_says_before_the_pass_whether_the_amateur_is_wanted(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, PLAIN)]))
    assert (stage.asking, stage.editing) == (False, False)
    processor.update_state(update(2, added=[(1, asking(STRONG))]))
    assert (stage.asking, stage.editing) == (True, False)
    processor.update_state(update(3, added=[(2, asking(WEAK, logit_bias={3: 1.0}))]))
    assert (stage.asking, stage.editing) == (True, True)
    processor.update_state(update(2, removed=[2]))
    assert (stage.asking, stage.editing) == (True, False)


SLOTS = SimpleNamespace(device=torch.device("cpu"), prompt_len=SimpleNamespace(np=np.zeros(16, int)))


def context(slots):
    return LogitsContext(
        expanded_idx_mapping=torch.tensor(slots),
        idx_mapping=torch.tensor(slots),
        idx_mapping_np=np.array(slots),
        expanded_local_pos=torch.zeros(len(slots)),
        input_ids=torch.zeros(len(slots)),
        pos=torch.zeros(len(slots)),
        seq_lens_upper_bound_np=np.zeros(len(slots)),
    )


def test_v2_finds_its_rows_by_slot(config, stage):
    processor = ContrastProcessor(config, SLOTS)
    assert processor.add_request(5, asking(STRONG)) is True
    assert processor.add_request(2, PLAIN) is False
    assert processor.add_request(7, asking(WEAK)) is True
    for slots, asked in (([2, 7, 5], [None, WEAK, STRONG]), ([5, 7], [STRONG, WEAK]), ([2], [None])):
        expert, amateur = torch.randn(len(slots), VOCAB), torch.randn(len(slots), VOCAB)
        stage.hidden = amateur
        check(processor.apply(expert.clone(), context(slots)), expert, amateur, asked)


def test_v2_wants_the_amateur_only_for_the_slots_that_run(config, stage):
    processor = ContrastProcessor(config, SLOTS)
    processor.add_request(0, PLAIN)
    processor.add_request(1, asking(STRONG, presence_penalty=0.5))
    processor.expect_slots([0])
    assert (stage.asking, stage.editing) == (False, False)
    processor.expect_slots([1, 0])
    assert (stage.asking, stage.editing) == (True, True)
    processor.add_request(1, PLAIN)  # the slot's next occupant
    processor.expect_slots([1, 0])
    assert (stage.asking, stage.editing) == (False, False)


def test_v2_counts_penalties_once(config, stage):
    processor = ContrastProcessor(config, SLOTS)
    processor.add_request(0, asking(STRONG, presence_penalty=0.5))
    expert, amateur = torch.randn(1, VOCAB), torch.randn(1, VOCAB)
    penalty = torch.zeros(1, VOCAB)
    penalty[0, 4] = -0.5
    stage.hidden, stage.unedited = amateur, expert
    scores = processor.apply(expert + penalty, context([0]))
    unpenalised = contrast_scores(expert, amateur, STRONG)
    torch.testing.assert_close(scores.softmax(-1), (unpenalised + penalty).softmax(-1))


def test_nothing_of_a_step_outlives_its_contrast(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, asking(STRONG))]))
    stage.hidden, stage.unedited = torch.zeros(1, VOCAB), torch.zeros(1, VOCAB)
    processor.apply(torch.zeros(1, VOCAB))
    assert (stage.hidden, stage.unedited) == (None, None)


def test_a_contrast_without_the_amateur_is_never_passed_off_as_one(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, asking(STRONG))]))
    stage.hidden = None
    with pytest.raises(RuntimeError, match="without the amateur having run"):
        processor.apply(torch.zeros(1, VOCAB))


def check_groups(processor, leaders):
    """Contrasts a batch whose rows in ``leaders`` hear the rows they map to; no other row changes."""
    logits = torch.randn(8, VOCAB)
    scores = processor.apply(logits.clone())
    for row in range(8):
        if row in leaders:
            exact = contrast_scores(logits[row], logits[leaders[row]], BESIDE)
            torch.testing.assert_close(scores[row].softmax(-1), exact.softmax(-1))
        else:
            assert torch.equal(scores[row], logits[row])
    leading = processor.leading()
    pairs = [] if leading is None else zip(*(tensor.tolist() for tensor in leading), strict=True)
    assert {leader: follower for follower, leader in pairs} == leaders


def test_v1_follows_groups_through_the_batch(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    assert processor.leading() is None
    added = [
        *((0, in_group(9, 1)), (1, PLAIN), (2, in_group(9, 0, BESIDE))),
        *((3, in_group(4, 0, BESIDE)), (4, in_group(4, 1)), (5, in_group(7, 1))),
    ]
    processor.update_state(update(6, added=added))
    check_groups(processor, {2: 0, 3: 4})
    processor.update_state(None)
    assert processor.leading() is None  # of the batch that `apply` just saw, and it has not seen this one
    check_groups(processor, {2: 0, 3: 4})
    processor.update_state(update(6, moved=[(0, 3, MoveDirectionality.SWAP)]))
    check_groups(processor, {2: 3, 0: 4})
    processor.update_state(update(5, removed=[2], moved=[(5, 2, MoveDirectionality.UNIDIRECTIONAL)]))
    check_groups(processor, {0: 4})  # group 9 has lost its leader, group 7 has none yet
    processor.update_state(update(6, added=[(5, in_group(7, 0, BESIDE))]))
    check_groups(processor, {0: 4, 5: 2})
    processor.update_state(update(6, removed=[4], added=[(4, PLAIN)]))
    check_groups(processor, {5: 2})
    processor.update_state(update(6, added=[(4, in_group(4, 1))]))  # back after a preemption
    check_groups(processor, {0: 4, 5: 2})


def test_v2_finds_groups_by_slot(config, stage):
    processor = ContrastProcessor(config, SLOTS)
    assert processor.add_request(3, in_group(1, 0, BESIDE)) is True
    assert processor.add_request(9, in_group(1, 1)) is False  # it is heard, not changed
    assert processor.add_request(4, PLAIN) is False
    for slots, leaders in (
        ([9, 4, 3], {2: 0}),
        ([3, 9], {0: 1}),
        ([4, 3], {}),
        ([9, 4], {}),
        ([3, 4, 9], {0: 2}),
    ):
        processor.expect_slots(slots)
        assert processor.leading() is None
        logits = torch.randn(len(slots), VOCAB)
        scores = processor.apply(logits.clone(), context(slots))
        leading = processor.leading()
        pairs = [] if leading is None else zip(*(tensor.tolist() for tensor in leading), strict=True)
        assert {leader: follower for follower, leader in pairs} == leaders
        for row in range(len(slots)):
            assert torch.equal(scores[row], logits[row]) == (row not in leaders)


def test_the_rows_of_leaders_are_worked_out_once_a_batch(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(2, added=[(0, in_group(1, 0, BESIDE)), (1, in_group(1, 1))]))
    processor.apply(torch.randn(2, VOCAB))
    leading = processor.leading()
    processor.update_state(None)
    processor.apply(torch.randn(2, VOCAB))
    assert processor.leading() is leading


def test_the_amateur_and_the_layers_run_only_for_those_who_hear_them(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(2, added=[(0, in_group(1, 0, BESIDE)), (1, in_group(1, 1))]))
    assert (stage.asking, stage.editing, stage.wanted_layers) == (False, False, ())
    processor.update_state(update(3, added=[(2, asking(EARLY))]))
    assert (stage.asking, stage.editing, stage.wanted_layers) == (False, False, (2, 4, 6))
    # The amateur reads every token of those who hear it, prompts included, whether the group is whole or not.
    processor.update_state(update(4, added=[(3, in_group(5, 0, BOTH, logit_bias={1: 1.0}))]))
    assert (stage.asking, stage.editing, stage.wanted_layers) == (True, True, (2, 4, 6))
    processor.update_state(update(2, removed=[3, 2]))
    assert (stage.asking, stage.editing, stage.wanted_layers) == (False, False, ())


@pytest.mark.parametrize("mix", [BESIDE, EARLY])
def test_a_follower_asks_for_nothing_itself(config, stage, mix):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, in_group(1, 1, mix, logit_bias={1: 1.0}))]))
    assert (stage.asking, stage.editing, stage.wanted_layers) == (False, False, ())
    logits = torch.randn(1, VOCAB)
    assert torch.equal(processor.apply(logits.clone()), logits)


def test_a_group_that_is_not_whole_keeps_nothing_of_the_step(config, stage):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, in_group(1, 0, BOTH))]))
    stage.hidden = torch.randn(1, VOCAB)
    logits = torch.randn(1, VOCAB)
    assert torch.equal(processor.apply(logits.clone()), logits)
    assert stage.hidden is None


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        (lambda: asking(BESIDE), "without its group"),
        (lambda: asking(EARLY), "layer 2, whose states weren't kept"),
        (lambda: asking(STRONG, logit_bias={1: 1.0}), "without the model's own"),
    ],
)
def test_a_contrast_whose_voice_is_missing_is_never_passed_off_as_one(config, stage, params, fault):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    processor.update_state(update(1, added=[(0, params())]))
    stage.hidden = torch.randn(1, VOCAB)
    with pytest.raises(RuntimeError, match=fault):
        processor.apply(torch.zeros(1, VOCAB))
    assert stage.hidden is None


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("layers", [(), (0, 2)])
@pytest.mark.parametrize("amateur", [False, True])
def test_a_rehearsal_hears_all_there_is_and_changes_nothing(
    config, stage, monkeypatch, rows, layers, amateur
):
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    logits, heard = torch.randn(rows, VOCAB).bfloat16(), []
    before = logits.clone()
    stage.unedited, stage.hidden = logits.clone(), torch.randn(rows, VOCAB) if amateur else None
    stage.head = lambda hidden: heard.append(len(hidden)) or hidden
    stage.layer_states = {layer: torch.randn(rows, VOCAB) for layer in layers}
    stage.layer_head = lambda states, rows: heard.append(len(rows)) or states[rows]
    processor.rehearse(logits)
    assert torch.equal(logits, before)
    assert heard == [max(1, rows - 1)] * amateur + [rows // 2] * (len(layers) if rows > 1 else 0)
    assert (stage.hidden, stage.unedited, stage.layer_states) == (None, None, {})
    assert processor.leading() is None
