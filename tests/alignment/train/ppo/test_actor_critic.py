"""One base with several adapters: each voice is what its adapter alone would say, and steps are those of one batch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.alignment.train.conftest import write_lines

from motet_alignment.data import Message
from motet_alignment.errors import TrainError
from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train import PpoSettings
from motet_alignment.train.devices import Place
from motet_alignment.train.models import open_base
from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.experience import gather_experience
from motet_alignment.train.ppo.learner import Learner, share_of_rate
from motet_alignment.train.ppo.microbatch import collate, cut
from motet_alignment.train.ppo.rollout import Prompt, Rollout
from motet_alignment.train.ppo.state import State, load, save
from motet_alignment.train.ppo.together import Together

PLACE = Place("cpu", "fp32")


def settings_of(tiny: Path, **more) -> PpoSettings:
    return PpoSettings.model_validate(
        {"data": ("unread.jsonl",), "model": str(tiny), "reward": ("gym",), "rank": 4, "precision": "fp32"}
        | more
    )


def rollouts_of(count: int, seed: int = 0) -> list[Rollout]:
    """Prompts and answers of random tokens and of different lengths."""
    dice = torch.Generator().manual_seed(seed)

    def tokens(most: int) -> tuple[int, ...]:
        length = int(torch.randint(1, most + 1, (1,), generator=dice))
        return tuple(torch.randint(3, 700, (length,), generator=dice).tolist())

    message = (Message(role="user", content="?"),)
    return [Rollout(Prompt(message, tokens(12), {}, "x:1"), tokens(7), "", True, None) for _ in range(count)]


def stirred(actor: ActorCritic, seed: int = 5) -> ActorCritic:
    """With a policy and values that are not what they start as."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (*actor.policy_parameters.values(), *actor.value_parameters.values()):
            weight.copy_(0.3 * torch.randn(weight.shape, generator=dice))
    return actor


@pytest.fixture(scope="module")
def settings(tiny: Path) -> PpoSettings:
    return settings_of(tiny, temperature=0.7)


@pytest.fixture(scope="module")
def actor(settings: PpoSettings) -> ActorCritic:
    return stirred(ActorCritic(settings, open_base(settings), PLACE, reference=None))


def alone(tiny: Path, folder: Path | None):
    """The base, with a saved adapter or bare, in plain transformers and PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny)
    return base.eval() if folder is None else PeftModel.from_pretrained(base, str(folder)).eval()


def said(model, rollout: Rollout, temperature: float) -> tuple[list[float], list[float]]:
    """Each answer token's log-probability and the entropy before it, by a model that sees this sequence alone."""
    with torch.no_grad():
        logits = model(torch.tensor([[*rollout.prompt.ids, *rollout.ids]])).logits[0].double() / temperature
    table = logits.log_softmax(-1)[len(rollout.prompt.ids) - 1 : -1]
    entropies = -(table.exp() * table).sum(-1)
    return [table[place, token].item() for place, token in enumerate(rollout.ids)], entropies.tolist()


def test_policy_and_reference_say_what_their_adapters_say_alone(
    tmp_path: Path, tiny: Path, settings: PpoSettings, actor: ActorCritic
):
    """Padded together and one behind the other, each row is as if it were alone."""
    actor.save_policy(tmp_path / "policy")
    policy, base = alone(tiny, tmp_path / "policy"), alone(tiny, None)
    rollouts = rollouts_of(9)
    batch = collate(rollouts, range(9), "cpu")
    with torch.no_grad():
        logprobs, spread = actor.logprobs(batch, with_entropy=True)
    reference = actor.reference_logprobs(batch)
    for row, rollout in enumerate(rollouts):
        count = len(rollout.ids)
        expected, entropies = said(policy, rollout, settings.temperature)
        assert logprobs[row, :count].tolist() == pytest.approx(expected, abs=2e-4)
        assert spread[row, :count].tolist() == pytest.approx(entropies, abs=2e-4)
        assert reference[row, :count].tolist() == pytest.approx(said(base, rollout, 0.7)[0], abs=2e-4)
        assert not logprobs[row, count:].any()
        assert not spread[row, count:].any()
    assert (logprobs - reference).abs().max() > 0.1


def test_a_reference_adapter_stays_what_it_was(tmp_path: Path, tiny: Path, actor: ActorCritic):
    """Frozen beside a policy that starts as the same adapter and moves away from it."""
    actor.save_policy(tmp_path / "start")
    store = AdapterStore(tmp_path / "store")
    base = open_base(settings_of(tiny))
    start = store.publish(
        tmp_path / "start", name="start", kind="sft", base=base.fingerprint, base_folder=base.folder
    )
    settings = settings_of(tiny, start="start", store=tmp_path / "store", temperature=1.0)
    gone_on = ActorCritic(settings, open_base(settings), PLACE, reference=start)
    batch = collate(rollouts_of(5), range(5), "cpu")
    with torch.no_grad():
        before = gone_on.logprobs(batch, with_entropy=False)[0]
    assert torch.allclose(before, gone_on.reference_logprobs(batch), atol=1e-5)
    learner = Learner(gone_on, settings, Together(PLACE))
    rollouts = rollouts_of(8)
    experience = gather_experience(
        gone_on, rollouts, [float(i % 2) for i in range(8)], settings, 0.0, learner.together
    )
    learner.update(experience, 0)
    with torch.no_grad():
        after = gone_on.logprobs(batch, with_entropy=False)[0]
    assert torch.allclose(before, gone_on.reference_logprobs(batch), atol=1e-5)
    assert (after - before).abs().max() > 1e-5


def test_a_reward_adapter_scores_as_it_does_alone(tmp_path: Path, tiny: Path, judge: Adapter):
    """On the base that is trained, with the policy between: the raw scores of a classifier of its own."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    settings = settings_of(tiny, reward=("adapter:judge",))
    actor = stirred(ActorCritic(settings, open_base(settings), PLACE, reference=None, reward=None))
    score = actor.add_reward(judge)
    sequences = [[*rollout.prompt.ids, *rollout.ids] for rollout in rollouts_of(7)]
    batch = collate(rollouts_of(3), range(3), "cpu")
    first = score(sequences)
    with torch.no_grad():
        actor.logprobs(batch, with_entropy=False)
    assert score(sequences) == first
    whole = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1), str(judge.path)
    ).eval()
    inner = whole.base_model.model
    for sequence, value in zip(sequences, first, strict=True):
        with torch.no_grad():
            hidden = inner.model(torch.tensor([sequence])).last_hidden_state[0, -1]
            assert inner.score(hidden).item() == pytest.approx(value, abs=1e-4)
    # Values that start at the reward adapter expect, before an answer's last token, what the judge thinks so far.
    valued = ActorCritic(settings, open_base(settings), PLACE, reference=None, reward=judge)
    rollout = rollouts_of(1)[0]
    with torch.no_grad():
        found = valued.values(collate([rollout], [0], "cpu"))[0]
    expected = [score([[*rollout.prompt.ids, *rollout.ids[:place]]])[0] for place in range(len(rollout.ids))]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    with pytest.raises(TrainError, match="kind reward"):
        actor.add_reward(
            AdapterStore(tmp_path / "other").publish(
                _saved(actor, tmp_path),
                name="p",
                kind="ppo",
                base=open_base(settings).fingerprint,
                base_folder=tiny,
            )
        )


def _saved(actor: ActorCritic, tmp_path: Path) -> Path:
    actor.save_policy(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("more", [{}, {"entropy_coefficient": 0.1, "whiten_rewards": True}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_is_that_of_one_batch_however_it_is_cut(tiny: Path, more: dict, checkpointing: bool):
    """Microbatches of a few tokens, and gradients computed anew, give the weights that one large batch gives."""
    outcomes = []
    rollouts = rollouts_of(12)
    for tokens, anew in ((4096, False), (40, checkpointing)):
        settings = settings_of(
            tiny,
            batch_tokens=tokens,
            minibatches=1,
            epochs=2,
            learning_rate=1e-2,
            warm_up=0.0,
            gradient_checkpointing=anew,
            **more,
        )
        actor = stirred(ActorCritic(settings, open_base(settings), PLACE, reference=None))
        learner = Learner(actor, settings, Together(PLACE))
        scores = [math.sin(place) for place in range(12)]
        experience = gather_experience(actor, rollouts, scores, settings, 0.1, learner.together)
        learner.update(experience, 0)
        outcomes.append({**actor.policy_parameters, **actor.value_parameters})
    one, other = outcomes
    for name in one:
        assert torch.allclose(one[name], other[name], atol=2e-4), name


def test_rloo_has_no_values_and_one_step(tiny: Path):
    """Answers to one prompt are compared with one another; equal rewards leave the policy where it is."""
    settings = settings_of(
        tiny, estimator="rloo", answers=2, kl_coefficient=0.0, learning_rate=1e-2, warm_up=0.0
    )
    actor = ActorCritic(settings, open_base(settings), PLACE, reference=None)
    assert actor.value_parameters == {}
    learner = Learner(actor, settings, Together(PLACE))
    first = rollouts_of(2)
    rollouts = [first[0], Rollout(first[0].prompt, first[1].ids, "", True, None)]
    equal = gather_experience(actor, rollouts, [1.0, 1.0], settings, 0.0, learner.together)
    assert not equal.advantages.any()
    before = {name: weight.detach().clone() for name, weight in actor.policy_parameters.items()}
    experience = gather_experience(actor, rollouts, [1.0, 0.0], settings, 0.0, learner.together)
    assert learner.update(experience, 0)["steps"] == 1
    assert any(not torch.equal(before[name], weight) for name, weight in actor.policy_parameters.items())
    batch = collate(rollouts, [0, 1], "cpu")
    with torch.no_grad():
        after = actor.logprobs(batch, with_entropy=False)[0].sum(-1)
    moved = after - experience.logprobs.sum(-1)
    assert moved[0] > 0 > moved[1]


def test_steps_end_where_the_policy_has_moved_too_far(tiny: Path):
    """The step that would go on from there is not taken."""
    settings = settings_of(tiny, update_kl=1e-6, learning_rate=5e-2, warm_up=0.0, minibatches=2, epochs=3)
    actor = ActorCritic(settings, open_base(settings), PLACE, reference=None)
    learner = Learner(actor, settings, Together(PLACE))
    experience = gather_experience(
        actor, rollouts_of(8), [float(place) for place in range(8)], settings, 0.0, learner.together
    )
    figures = learner.update(experience, 0)
    assert 1 <= figures["steps"] < 6
    assert figures["update_kl"] > 1e-6


def test_no_step_is_taken_by_what_is_no_number(tiny: Path):
    """Weights stay as they were, and the error says what to do."""
    settings = settings_of(tiny, whiten_advantages=False)
    actor = ActorCritic(settings, open_base(settings), PLACE, reference=None)
    learner = Learner(actor, settings, Together(PLACE))
    experience = gather_experience(
        actor, rollouts_of(4), [1.0, 2.0, 3.0, 1e38], settings, 0.0, learner.together
    )
    before = {name: weight.detach().clone() for name, weight in actor.policy_parameters.items()}
    with pytest.raises(TrainError, match=r"iteration 4: the loss is no number.*--learning-rate"):
        learner.update(experience, 3)
    assert all(torch.equal(before[name], weight) for name, weight in actor.policy_parameters.items())


def test_a_checkpoint_brings_weights_and_optimizers_back(tmp_path: Path, tiny: Path):
    """Saved, loaded into a fresh learner, and stepped once more: bit by bit what the first one steps to."""
    settings = settings_of(tiny, learning_rate=1e-2)
    rollouts, scores = rollouts_of(6), [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]

    def fresh() -> Learner:
        return Learner(
            ActorCritic(settings, open_base(settings), PLACE, reference=None), settings, Together(PLACE)
        )

    def step(learner: Learner, iteration: int) -> None:
        actor = learner.actor
        learner.update(gather_experience(actor, rollouts, scores, settings, 0.1, learner.together), iteration)

    first = fresh()
    step(first, 0)
    state = State(iteration=1, kl_coefficient=0.2, kl=0.5, seconds=3.0)
    checkpoint = save(tmp_path, state, first)
    step(first, 1)
    second = fresh()
    assert load(checkpoint, second) == state
    step(second, 1)
    for parameters in ("policy_parameters", "value_parameters"):
        one, other = getattr(first.actor, parameters), getattr(second.actor, parameters)
        assert all(torch.equal(one[name], other[name]) for name in one)
    (checkpoint / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(TrainError, match=r"checkpoint-1.*--no-resume"):
        load(checkpoint, second)


def test_microbatches_hold_what_memory_bears():
    """Every rollout once, padding counted; one that is longer than that alone comes alone."""
    rollouts = rollouts_of(40)
    batches = cut(rollouts, range(40), 60)
    assert sorted(place for batch in batches for place in batch) == list(range(40))
    for batch in batches:
        width = max(len(rollouts[place].prompt.ids) for place in batch) + max(
            len(rollouts[place].ids) for place in batch
        )
        assert len(batch) * width <= 60
    assert cut(rollouts, [3, 1], 1) in ([[3], [1]], [[1], [3]])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.5]), ("cosine", [0.5, 1, 1, 0.5])],
)
def test_rates(schedule: str, expected: list[float]):
    """Up over the warm-up's share of the iterations, then as the schedule has it: here at 0, 1, 2 and 5 of 8."""
    settings = PpoSettings.model_validate(
        {"data": ("x",), "reward": ("gym",), "iterations": 8, "warm_up": 0.25, "schedule": schedule}
    )
    assert [share_of_rate(settings, iteration) for iteration in (0, 1, 2, 5)] == pytest.approx(expected)


def test_rewards_of_a_file_are_not_needed_here(tmp_path: Path):
    """Settings name the option at fault."""
    path = write_lines(tmp_path / "p.jsonl", [{"prompt": "x"}])
    for wrong, said in (
        ({}, "--reward"),
        ({"reward": ("gym",), "weight": (1.0, 2.0)}, "--weight"),
        ({"reward": ("gym",), "rollouts": "server"}, "--url"),
        ({"reward": ("gym",), "rollouts": "engine", "url": "http://x"}, "--url does nothing"),
        ({"reward": ("gym",), "estimator": "rloo"}, "--answers"),
        ({"reward": ("gym",), "estimator": "rloo", "answers": 2, "epochs": 2}, "one step"),
        ({"reward": ("gym",), "estimator": "rloo", "answers": 2, "clip_range": 0.1}, "--clip-range"),
        ({"reward": ("gym",), "kl_horizon": 5}, "--kl-horizon"),
        ({"reward": ("gym",), "kl_target": 1.0, "kl_coefficient": 0.0}, "--kl-target"),
        ({"reward": ("gym",), "length_free": 5}, "--length-free"),
        ({"reward": ("gym",), "value_warm_up": 3, "iterations": 3}, "--value-warm-up 3"),
    ):
        with pytest.raises(ValueError, match=said):
            PpoSettings.model_validate({"data": (path,), **wrong})


def test_values_may_learn_alone_at_first(tiny: Path):
    """The policy stays where it is for so many iterations, and steps in the one after."""
    settings = settings_of(tiny, value_warm_up=2, learning_rate=1e-2, warm_up=0.0)
    actor = ActorCritic(settings, open_base(settings), PLACE, reference=None)
    learner = Learner(actor, settings, Together(PLACE))
    rollouts, scores = rollouts_of(6), [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    moved = []
    for iteration in range(3):
        kept = [
            {name: weight.detach().clone() for name, weight in parameters.items()}
            for parameters in (actor.policy_parameters, actor.value_parameters)
        ]
        learner.update(gather_experience(actor, rollouts, scores, settings, 0.1, learner.together), iteration)
        moved.append(
            [
                any(not torch.equal(before[name], weight) for name, weight in parameters.items())
                for before, parameters in zip(
                    kept, (actor.policy_parameters, actor.value_parameters), strict=True
                )
            ]
        )
    assert moved == [[False, True], [False, True], [True, True]]
