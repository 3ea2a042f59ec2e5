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
from motet_decoding.engine.arguments import engine_arguments, ensure_engine_key
from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of
from motet_decoding.reference import contrast_scores

VOCAB = 16
STRONG, WEAK = (
    Contrast(strength=2.0, plausibility=0.0),
    Contrast(strength=0.3, plausibility=0.0, form="ratio"),
)
PLAIN = SamplingParams()


def asking(contrast, **params):
    return SamplingParams(extra_args=engine_arguments(contrast).extra_args, **params)


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
    processor = ContrastProcessor(config, SimpleNamespace(device=torch.device("cpu")))
    assert processor.add_request(5, asking(STRONG)) is True
    assert processor.add_request(2, PLAIN) is False
    assert processor.add_request(7, asking(WEAK)) is True
    for slots, asked in (([2, 7, 5], [None, WEAK, STRONG]), ([5, 7], [STRONG, WEAK]), ([2], [None])):
        expert, amateur = torch.randn(len(slots), VOCAB), torch.randn(len(slots), VOCAB)
        stage.hidden = amateur
        check(processor.apply(expert.clone(), context(slots)), expert, amateur, asked)


def test_v2_wants_the_amateur_only_for_the_slots_that_run(config, stage):
    processor = ContrastProcessor(config, SimpleNamespace(device=torch.device("cpu")))
    processor.add_request(0, PLAIN)
    processor.add_request(1, asking(STRONG, presence_penalty=0.5))
    processor.expect_slots([0], [0])
    assert (stage.asking, stage.editing) == (False, False)
    processor.expect_slots([1, 0], [3, 0])
    assert (stage.asking, stage.editing) == (True, True)
    processor.add_request(1, PLAIN)  # the slot's next occupant
    processor.expect_slots([1, 0], [3, 0])
    assert (stage.asking, stage.editing) == (False, False)


def test_v2_counts_penalties_once(config, stage):
    processor = ContrastProcessor(config, SimpleNamespace(device=torch.device("cpu")))
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
