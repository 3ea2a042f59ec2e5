"""Where certainties are kept, what displaces them, and which rows of which step are measured (no engine)."""

from __future__ import annotations

import math
import random
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

from motet_decoding.contrast import Contrast
from motet_decoding.engine import measuring
from motet_decoding.engine.arguments import Reading, engine_arguments, ensure_engine_key
from motet_decoding.engine.certainty import measured
from motet_decoding.engine.measuring import PAGE, Measurements, certainties
from motet_decoding.engine.model import ScoringModel
from motet_decoding.engine.rewards import number_sampling, read_number
from motet_decoding.engine.scoring import ScoringProcessor
from motet_decoding.engine.stage import stage_of
from motet_decoding.engine.vllm_private import drawn_tokens

VOCAB = 12


def by_hand(row: torch.Tensor) -> float:
    """KL(uniform || softmax(row)), term by term."""
    p = row.double().softmax(-1)
    return float(sum(1 / len(p) * math.log(1 / len(p) / each) for each in p.tolist()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("at_once", [1, 3 * VOCAB, 2**24])
def test_certainty_is_the_divergence_of_the_uniform_distribution(monkeypatch, dtype, at_once):
    monkeypatch.setattr(measuring, "_AT_ONCE", at_once)
    logits = (4 * torch.randn(9, VOCAB)).to(dtype)
    rows = torch.tensor([8, 0, 3, 4, 5])
    told = certainties(logits, rows)
    assert told.dtype == torch.float32
    assert told.tolist() == pytest.approx([by_hand(logits[row]) for row in rows], abs=1e-5)
    assert float(certainties(torch.full((1, VOCAB), 7.0), torch.tensor([0]))[0]) == pytest.approx(0, abs=1e-6)


def keep(kept: Measurements, name: str, token: int, value: float) -> None:
    """Has a value kept by way of logits that have it: one logit is x, all others are 0."""
    kept.keep(logits_of(value)[None], [(0, name, token)])


def logits_of(value: float) -> torch.Tensor:
    low, high = 0.0, 200.0
    logits = torch.zeros(VOCAB, dtype=torch.float64)
    for _ in range(80):
        logits[0] = (low + high) / 2
        if float(logits.logsumexp(-1) - logits.mean() - math.log(VOCAB)) < value:
            low = float(logits[0])
        else:
            high = float(logits[0])
    return logits.float()


def told(kept: Measurements, name: str, tokens: int) -> float | None:
    mean = kept.read(Reading(measure=name, tokens=tokens))
    return None if mean is None else float(mean)


def test_answers_of_any_length_beside_each_other():
    rng, kept = random.Random(0), Measurements()
    lengths = {"short": 1, "page": PAGE, "more": PAGE + 1, "long": 3 * PAGE + 5}
    values = {name: [rng.uniform(0.1, 5) for _ in range(length)] for name, length in lengths.items()}
    for token in range(max(lengths.values())):
        drawing = [name for name in lengths if token < lengths[name]]
        rng.shuffle(drawing)
        logits = torch.stack([logits_of(values[name][token]) for name in drawing])
        kept.keep(logits, [(row, name, token) for row, name in enumerate(drawing)])
    for name, length in lengths.items():
        for tokens in {1, length // 2 or 1, length}:
            expected = sum(values[name][:tokens]) / tokens
            assert told(kept, name, tokens) == pytest.approx(expected, abs=1e-4)
        assert told(kept, name, length + 1) is None
    assert told(kept, "nobody's", 1) is None


def test_a_draw_that_is_made_again_counts_as_it_was_made_last_and_one_in_the_prompt_not_at_all():
    kept = Measurements()
    keep(kept, "a", -3, 5.0)
    assert told(kept, "a", 1) is None
    for token, value in [(0, 5.0), (0, 1.0), (1, 2.0), (2, 4.0), (1, 3.0)]:
        keep(kept, "a", token, value)
    assert told(kept, "a", 3) == pytest.approx((1 + 3 + 4) / 3, abs=1e-4)


def test_an_answer_whose_beginning_or_middle_is_missing_is_not_told():
    kept = Measurements()
    keep(kept, "beginning", 1, 1.0)
    assert told(kept, "beginning", 1) is None
    keep(kept, "middle", 0, 1.0)
    keep(kept, "middle", 2, 1.0)
    assert told(kept, "middle", 1) is None


def test_what_was_told_goes_first_then_what_got_nothing_for_the_longest():
    kept = Measurements(most=3 * PAGE)
    for name in ("first", "second", "third"):
        keep(kept, name, 0, 1.0)
    keep(kept, "first", 1, 1.0)
    assert told(kept, "third", 1) == pytest.approx(1.0, abs=1e-4)
    keep(kept, "fourth", 0, 2.0)
    assert [told(kept, name, 1) is None for name in ("third", "second", "first")] == [True, False, False]
    kept = Measurements(most=3 * PAGE)
    for name in ("first", "second", "third"):
        keep(kept, name, 0, 1.0)
    keep(kept, "first", 1, 1.0)
    keep(kept, "fourth", 0, 2.0)
    assert told(kept, "second", 1) is None
    assert told(kept, "fourth", 1) == pytest.approx(2.0, abs=1e-4)
    assert told(kept, "first", 2) == pytest.approx(1.0, abs=1e-4)


def test_when_there_is_no_room_answers_are_lost_and_none_is_wrong():
    """More answers in every step than there is room for: whoever is displaced in the middle of one says so."""
    rng, kept = random.Random(1), Measurements(most=4 * PAGE)
    values: dict[str, list[float]] = {}
    seen = lost = 0
    for _ in range(150):
        for name in [name for name in values if rng.random() < 0.02]:
            del values[name]
        while len(values) < 6:
            values[uuid.uuid4().hex] = []
        for drawn in values.values():
            drawn.append(rng.choice([0.5, 1.0, 2.0]))
        logits = torch.stack([LOGITS[drawn[-1]] for drawn in values.values()])
        kept.keep(logits, [(row, name, len(values[name]) - 1) for row, name in enumerate(values)])
        for name, drawn in values.items():
            if rng.random() < 0.05:
                mean = told(kept, name, len(drawn))
                lost, seen = lost + (mean is None), seen + (mean is not None)
                assert mean is None or mean == pytest.approx(sum(drawn) / len(drawn), abs=1e-4)
    assert lost
    assert seen


LOGITS = {value: logits_of(value) for value in (0.5, 1.0, 2.0)}


def test_an_answer_longer_than_all_the_room_is_lost_and_the_next_one_is_not():
    kept = Measurements(most=PAGE)
    for token in range(PAGE + 1):
        kept.keep(LOGITS[1.0][None], [(0, "long", token)])
    assert told(kept, "long", 1) is None
    keep(kept, "next", 0, 1.0)
    assert told(kept, "next", 1) == pytest.approx(1.0, abs=1e-4)


class Plain(nn.Module):
    """Stands for vLLM's class: row r of step s has the certainty r + s / 8."""

    step = 0

    def compute_logits(self, hidden_states):
        return torch.stack([logits_of(row + self.step / 8) for row in range(len(hidden_states))])


class Watched(ScoringModel, Plain):
    """Made without vLLM's configuration."""

    def __init__(self, stage):
        nn.Module.__init__(self)
        self.stage = stage

    def run(self, rows: int) -> torch.Tensor:
        self.step += 1
        logits = self.compute_logits(torch.ones(rows, 4))
        self.compute_logits(torch.ones(rows, 4))  # the same step's prompt logprobs
        return logits


@pytest.fixture
def config():
    ensure_engine_key()
    return SimpleNamespace(instance_id=uuid.uuid4().hex)


def watch(name, contrast=None):
    extra = None if contrast is None else engine_arguments(contrast).extra_args
    return SamplingParams(extra_args=measured(extra, name))


def reading(name, tokens):
    from motet_decoding.engine.arguments import reading_arguments

    return number_sampling(reading_arguments(name, tokens))


def carried(row: torch.Tensor) -> float | None:
    logprobs = row.float().log_softmax(-1)
    entries = {t: SimpleNamespace(logprob=float(logprobs[t])) for t in logprobs.topk(5).indices.tolist()}
    return read_number(SimpleNamespace(outputs=[SimpleNamespace(logprobs=[entries])]))


def test_v1_measures_by_its_lists_of_drawn_tokens(config):
    processor, model = ScoringProcessor(config, torch.device("cpu"), False), Watched(stage_of(config))
    lists: dict[str, list[int]] = {"a": [], "b": []}

    def update(**changes):
        changes = {"removed": (), "added": (), "moved": (), **changes}
        changes["added"] = [(row, params, [1], drawn) for row, params, drawn in changes["added"]]
        processor.update_state(BatchUpdate(batch_size=3, **changes))

    a, b = watch("a"), watch("b", Contrast())
    update(added=[(0, SamplingParams(), []), (1, a, lists["a"]), (2, b, lists["b"])])
    model.run(3)  # a piece of the prompts: both draws are thrown away
    processor.update_state(None)
    model.run(3)  # a: 1 + 2/8, b: 2 + 2/8
    lists["a"].append(7)
    lists["b"].append(7)
    update(moved=[(0, 2, MoveDirectionality.SWAP)])
    model.run(3)  # a: 1 + 3/8, b, which is row 0 now: 3/8
    lists["a"].append(7)
    update(removed=[0], moved=[(2, 0, MoveDirectionality.UNIDIRECTIONAL)])  # b is preempted
    model.run(2)  # a: 1 + 4/8
    lists["a"].append(7)
    lists["b"] = [7]  # the draw behind it was thrown away with it
    update(added=[(2, b, lists["b"])])
    model.run(3)  # b: 2 + 5/8
    update(removed=[1, 2], added=[(1, reading("a", 3), []), (2, reading("b", 2), [])])
    logits = model.run(3)
    assert carried(logits[1]) == pytest.approx(1 + (2 + 3 + 4) / 3 / 8, abs=1e-4)
    assert carried(logits[2]) == pytest.approx((2 + 2 / 8 + 2 + 5 / 8) / 2, abs=1e-4)
    assert torch.equal(logits[0], logits_of(6 / 8))
    update(added=[(1, reading("b", 3), []), (2, reading("c", 1), [])])
    logits = model.run(3)
    assert carried(logits[1]) is None
    assert carried(logits[2]) is None


def test_v2_measures_by_the_tokens_it_is_told(config):
    processor, model = ScoringProcessor(config, None), Watched(stage_of(config))
    assert not processor.add_request(7, watch("a"))
    assert not processor.add_request(4, SamplingParams())
    for slots, tokens in [
        ([4, 7], [3, -2]),  # inside the prompt
        ([7, 4], [0, 4]),  # 2/8
        ([4, 7], [5, 1]),  # 1 + 3/8
    ]:
        processor.expect_slots(slots, tokens)
        model.run(2)
    processor.add_request(7, SamplingParams())
    processor.add_request(2, reading("a", 2))
    processor.expect_slots([7, 2], [0, 0])
    assert carried(model.run(2)[1]) == pytest.approx((2 / 8 + 1 + 3 / 8) / 2, abs=1e-4)
    processor.add_request(2, reading("a", 3))
    processor.expect_slots([2], [0])
    assert carried(model.run(1)[0]) is None


def test_v2_draws_the_token_behind_all_it_has_read():
    batch = SimpleNamespace(
        num_computed_tokens_np=np.array([0, 64, 100, 40], np.int32),
        num_scheduled_tokens=np.array([64, 36, 1, 63], np.int32),
        idx_mapping_np=np.array([3, 3, 3, 0]),
    )
    states = SimpleNamespace(prompt_len=SimpleNamespace(np=np.array([103, 0, 0, 100], np.int32)))
    assert drawn_tokens(batch, states) == [-36, 0, 1, 0]


def test_a_step_that_nobody_asks_of_touches_nothing(config, monkeypatch):
    processor, model = ScoringProcessor(config, None), Watched(stage_of(config))
    monkeypatch.setattr(Measurements, "keep", None)
    monkeypatch.setattr(Measurements, "read", None)
    processor.add_request(0, SamplingParams(extra_args=engine_arguments(Contrast()).extra_args))
    processor.expect_slots([0], [0])
    assert torch.equal(model.run(1)[0], logits_of(1 / 8))
