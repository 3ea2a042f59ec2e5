"""A reward's way through logits of any type, and which rows of which step carry one (no engine)."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

from motet_decoding.engine.arguments import ensure_engine_key
from motet_decoding.engine.model import ScoringModel
from motet_decoding.engine.rewards import read_reward, reward_sampling
from motet_decoding.engine.scoring import ScoringProcessor, write_rewards
from motet_decoding.engine.stage import stage_of

HIDDEN, VOCAB = 8, 12


@pytest.fixture
def head(tmp_path):
    torch.manual_seed(0)
    save_file({"score.weight": torch.randn(1, HIDDEN)}, tmp_path / "score.safetensors")
    return tmp_path / "score.safetensors"


def carried(logits: torch.Tensor) -> float:
    """What ``read_reward`` makes of a row of logits, by way of log-probabilities as vLLM computes them."""
    logprobs = logits.float().log_softmax(-1)
    entries = {
        token: SimpleNamespace(logprob=float(logprobs[token])) for token in logprobs.topk(5).indices.tolist()
    }
    return read_reward(SimpleNamespace(outputs=[SimpleNamespace(logprobs=[entries])]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 3000.0])
def test_a_reward_survives_logits_of_any_type(head, dtype, size):
    hidden = (size * torch.randn(4, HIDDEN)).to(dtype)
    logits = torch.randn(4, VOCAB, dtype=dtype)
    before = logits.clone()
    write_rewards(logits, hidden, [(1, head), (3, head)])
    from safetensors.torch import load_file

    weight = load_file(head)["score.weight"]
    for row in (1, 3):
        expected = float(weight[0] @ hidden[row].float())
        assert carried(logits[row]) == pytest.approx(expected, rel=2e-6, abs=1e-6)
    assert torch.equal(logits[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("broken", ["missing", "damaged", "another width", "no matrix", "not finite"])
def test_what_cannot_be_scored_is_an_error_of_its_own_request(tmp_path, broken):
    file, hidden = tmp_path / f"{broken}.safetensors", torch.ones(1, HIDDEN)
    if broken == "damaged":
        file.write_bytes(b"\xff" * 20)
    elif broken == "another width":
        save_file({"score.weight": torch.ones(1, HIDDEN + 1)}, file)
    elif broken == "no matrix":
        save_file({"score.weight": torch.ones(HIDDEN)}, file)
    elif broken == "not finite":
        save_file({"score.weight": torch.full((1, HIDDEN), float("inf"))}, file)
    logits = torch.zeros(1, VOCAB)
    write_rewards(logits, hidden, [(0, file)])
    with pytest.raises(ValueError, match="could not score"):
        carried(logits[0])


def test_a_head_that_was_missing_is_looked_for_again(tmp_path):
    file, hidden = tmp_path / "score.safetensors", torch.ones(1, HIDDEN)
    write_rewards(torch.zeros(1, VOCAB), hidden, [(0, file)])
    save_file({"score.weight": torch.full((1, HIDDEN), 0.25)}, file)
    logits = torch.zeros(1, VOCAB)
    write_rewards(logits, hidden, [(0, file)])
    assert carried(logits[0]) == pytest.approx(0.25 * HIDDEN)


def test_a_clients_argument_under_a_key_like_ours_is_refused_where_requests_come_in(head):
    key = ensure_engine_key()
    for forged, reason in (
        ({"motet-0123": "{}"}, "reserved for the server"),
        ({key: "no JSON"}, "Invalid JSON"),
        ({key: '{"reward_head": "/x", "more": 1}'}, "more"),
    ):
        with pytest.raises(ValueError, match=reason):
            ScoringProcessor.validate_params(SamplingParams(extra_args=forged))
    ScoringProcessor.validate_params(SamplingParams(extra_args={"theirs": 1}))
    ScoringProcessor.validate_params(reward_sampling(head))


class Plain(nn.Module):
    """Stands for vLLM's class."""

    def compute_logits(self, hidden_states):
        return torch.zeros(len(hidden_states), VOCAB)


class Scored(ScoringModel, Plain):
    """Made without vLLM's configuration."""

    def __init__(self, stage):
        nn.Module.__init__(self)
        self.stage = stage


@pytest.fixture
def config():
    ensure_engine_key()
    return SimpleNamespace(instance_id=uuid.uuid4().hex)


def rows_with_a_reward(model, rows):
    logits = model.compute_logits(torch.ones(rows, HIDDEN))
    return [row for row in range(rows) if torch.isinf(logits[row]).any()]


def test_v1_follows_its_rows_and_scores_only_what_is_sampled(config, head):
    processor, model = ScoringProcessor(config, torch.device("cpu"), False), Scored(stage_of(config))
    plain, scored = SamplingParams(), reward_sampling(head)

    def step(**changes):
        update = {"removed": (), "added": (), "moved": (), **changes}
        update["added"] = [(row, params, [1], []) for row, params in update["added"]]
        processor.update_state(BatchUpdate(batch_size=3, **update))

    step(added=[(0, plain), (1, scored), (2, plain)])
    assert rows_with_a_reward(model, 3) == [1]
    assert rows_with_a_reward(model, 3) == []  # the same step's prompt logprobs
    processor.update_state(None)
    assert rows_with_a_reward(model, 3) == [1]
    step(moved=[(1, 0, MoveDirectionality.SWAP)])
    assert rows_with_a_reward(model, 3) == [0]
    step(added=[(0, plain)])
    assert rows_with_a_reward(model, 3) == []
    step(added=[(2, scored)], removed=[1])
    step(moved=[(2, 1, MoveDirectionality.UNIDIRECTIONAL)])
    assert rows_with_a_reward(model, 2) == [1]
    step(removed=[1])
    assert rows_with_a_reward(model, 1) == []
    logits = torch.randn(2, VOCAB)
    assert torch.equal(processor.apply(logits.clone()), logits)


def test_v2_knows_its_rows_by_slot(config, head):
    processor, model = ScoringProcessor(config, None), Scored(stage_of(config))
    assert not processor.add_request(7, reward_sampling(head))
    assert not processor.add_request(4, SamplingParams())
    processor.expect_slots([4, 7], [0, 0])
    assert rows_with_a_reward(model, 2) == [1]
    processor.expect_slots([4], [0])
    assert rows_with_a_reward(model, 1) == []
    processor.add_request(7, SamplingParams())
    processor.expect_slots([7], [0])
    assert rows_with_a_reward(model, 1) == []
