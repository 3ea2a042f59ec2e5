"""Every kind of mix, in batches of all of them, against the formula written out in float64."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

from motet_decoding.adapting import ByDivergence
from motet_decoding.engine import mixing
from motet_decoding.engine.arguments import AMATEUR, Asked, Heard, Mix, ensure_engine_key
from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of
from motet_decoding.reference import divergence, share

VOCAB, LAYERS = 23, (0, 2, 4, 6)
DIVERGING, SURE = {"by": "divergence", "scale": 0.4}, {"by": "entropy", "scale": 3.5}
FADING = {"by": "position", "tokens": 8, "start": 0.9, "end": 0.2, "shape": "cosine"}


def member(number, weight=1.0):
    return Heard(source="member", member=number, weight=weight)


def layer(*layers, weight=1.0):
    return Heard(source="layer", layers=layers, weight=weight)


#: One of each kind, and of each kind of strength.
MIXES = [
    Mix(strength=0.7, plausibility=0.0),
    Mix(strength=0.7, plausibility=0.2, adapt=SURE),
    Mix(strength=1.5, plausibility=0.01, voices=(member(1),), form="ratio"),
    Mix(strength=1.5, plausibility=0.0, voices=(member(1),), amateur_temperature=0.5, adapt=DIVERGING),
    Mix(strength=0.5, plausibility=0.0, voices=(member(1, -1.0), member(2))),
    Mix(strength=1.0, plausibility=0.1, voices=(member(2, 0.3), member(1, -2.5), member(3, 0.4)), adapt=SURE),
    Mix(strength=0.9, plausibility=0.0, voices=(layer(2),)),
    Mix(strength=0.9, plausibility=0.1, voices=(layer(4, 0, 2),)),
    Mix(strength=0.9, plausibility=0.0, voices=(layer(2, 6),), adapt=FADING),
    Mix(
        strength=1.1,
        plausibility=0.05,
        voices=(AMATEUR.model_copy(update={"weight": 0.5}), member(1, -1.0), layer(0, 4, weight=2.0)),
        amateur_temperature=2.0,
        adapt=DIVERGING,
    ),
    Mix(strength=2.0, plausibility=0.0, adapt=FADING),
    Mix(strength=2.0, plausibility=0.0, voices=(member(1, -3.0),), adapt=FADING, form="ratio"),
]


@dataclass
class Row:
    """One row of a batch: a leader (or a request of its own) with a mix, a follower, or a plain request."""

    mix: Mix | None = None
    group: int | None = None
    member: int = 0
    params: dict = field(default_factory=dict)
    drawn: int = 0

    @property
    def sampling(self):
        if self.mix is None and self.group is None:
            return SamplingParams()
        asked = Asked(contrast=self.mix, group=self.group, member=self.member)
        return SamplingParams(
            extra_args={ensure_engine_key(): asked.model_dump_json(exclude_none=True)}, **self.params
        )


def group_of(number, mix, *, missing=(), **options):
    """A leader's rows and its followers', as far as they are in the batch."""
    needs = sorted({voice.member for voice in mix.voices if voice.source == "member"})
    followers = [Row(group=number, member=each) for each in needs if each not in missing]
    return [Row(mix, number if needs else None, **options), *followers]


@dataclass
class Step:
    """The logits of a step: all voices', and the model's own as they are when the processor sees them."""

    own: torch.Tensor
    seen: torch.Tensor
    amateur: torch.Tensor
    layers: dict[int, torch.Tensor]

    @classmethod
    def of(cls, rows, seed=0, width=VOCAB, scale=2.0):
        generator = torch.Generator().manual_seed(seed)

        def drawn(vocab):
            return torch.randn(len(rows), vocab, generator=generator) * scale

        own = drawn(VOCAB)
        seen = own.clone()
        for row, each in enumerate(rows):
            for token, bias in (each.params.get("logit_bias") or {}).items():
                seen[row, token] += bias
        return cls(own, seen, drawn(width), {number: drawn(VOCAB) for number in LAYERS})

    def on(self, stage):
        stage.hidden, stage.head = self.amateur, lambda hidden: hidden
        stage.layer_states = self.layers
        stage.layer_head = lambda states, rows: states if rows is None else states[rows]
        stage.unedited = self.own if stage.editing else None

    def expected(self, rows, row):
        """A row's scores, with the formula written out; untouched where nothing is asked or its group isn't whole."""
        mix = rows[row].mix
        if mix is None:
            return None
        own, seen = self.own[row].double(), self.seen[row].double()
        voices = []
        for voice in mix.voices:
            if voice.source == "amateur":
                heard = self.amateur[row]
            elif voice.source == "layer":
                candidates = torch.stack([self.layers[number][row] for number in sorted(voice.layers)])
                heard = candidates[
                    int(divergence(own.expand(len(candidates), -1), candidates.double()).argmax())
                ]
            else:
                found = [
                    at
                    for at, each in enumerate(rows)
                    if (each.group, each.member) == (rows[row].group, voice.member)
                ]
                if not found:
                    return None
                heard = self.seen[found[0]]
            voices.append((voice.weight, heard.double()))
        shared = min(VOCAB, *(len(heard) for _, heard in voices))
        strength = mix.strength * self.share(own, voices, mix.adapt, rows[row].drawn)
        kept = strength * sum(weight for weight, _ in voices) if mix.form == "extrapolate" else 0.0
        scores = seen[:shared] + kept * own[:shared]
        for weight, heard in voices:
            scores = scores - strength * weight * heard[:shared] / mix.amateur_temperature
        head = seen[:shared] >= seen[:shared].max() + (
            math.log(mix.plausibility) if mix.plausibility else -math.inf
        )
        scores = torch.where(head & seen[:shared].isfinite(), scores, -torch.inf)
        return torch.nn.functional.pad(scores, (0, VOCAB - shared), value=-torch.inf)

    @staticmethod
    def share(own, voices, adapt, position):
        """The strength's, from the distributions over the tokens that those compared have."""
        if not isinstance(adapt, ByDivergence):
            shared = min(VOCAB, *(len(heard) for _, heard in voices))
            return share(own[:shared], [], adapt, position)
        sizes = sum(abs(weight) for weight, _ in voices)
        bits = 0.0
        for weight, heard in voices:
            both = min(VOCAB, len(heard))
            bits += abs(weight) / sizes * divergence(own[:both], heard[:both]) / math.log(2)
        return (bits / adapt.scale).clamp(max=1.0)

    def check(self, scores, rows):
        touched = 0
        for row in range(len(rows)):
            exact = self.expected(rows, row)
            if exact is None:
                assert torch.equal(scores[row], self.seen[row]), row
                continue
            touched += 1
            assert torch.equal(scores[row].isinf(), exact.isinf()), (row, rows[row])
            torch.testing.assert_close(
                scores[row].double().softmax(-1), exact.softmax(-1), atol=1e-5, rtol=2e-4, msg=str(rows[row])
            )
        return touched


def config():
    ensure_engine_key()
    return SimpleNamespace(instance_id=uuid.uuid4().hex)


def v1(rows):
    """A processor of the V1 runner that knows the rows, and its stage."""
    made = config()
    stage = stage_of(made)
    processor = ContrastProcessor(made, torch.device("cpu"), False)
    added = [(row, each.sampling, [1], [7] * each.drawn) for row, each in enumerate(rows)]
    processor.update_state(BatchUpdate(batch_size=len(rows), removed=(), added=added, moved=()))
    return processor, stage


def v2(rows, slots):
    """The V2 runner's, with the rows in these slots."""
    made = config()
    stage = stage_of(made)
    prompts = np.arange(100, 100 + max(slots, default=0) + 1)
    requests = SimpleNamespace(device=torch.device("cpu"), prompt_len=SimpleNamespace(np=prompts))
    processor = ContrastProcessor(made, requests)
    for slot, each in zip(slots, rows, strict=True):
        processor.add_request(slot, each.sampling)
    processor.expect_slots(slots)
    return processor, stage


def context(rows, slots):
    """What the V2 runner tells of a batch; the prompt of the request in slot k has 100 + k tokens."""
    none = torch.zeros(len(slots))
    return LogitsContext(
        expanded_idx_mapping=torch.tensor(slots),
        idx_mapping=torch.tensor(slots),
        idx_mapping_np=np.array(slots),
        expanded_local_pos=none,
        input_ids=none,
        pos=none,
        seq_lens_upper_bound_np=np.array(
            [100 + slot + row.drawn for row, slot in zip(rows, slots, strict=True)]
        ),
    )


@pytest.mark.parametrize("number", range(len(MIXES)))
@pytest.mark.parametrize("edited", [False, True])
def test_each_mix_alone_and_twice(number, edited):
    options = {"params": {"logit_bias": {3: 2.5, 9: -1.0}}} if edited else {}
    for rows in (
        group_of(0, MIXES[number], drawn=5, **options),
        [*group_of(4, MIXES[number], drawn=2, **options), *group_of(2, MIXES[number])],
    ):
        processor, stage = v1(rows)
        step = Step.of(rows, seed=number)
        step.on(stage)
        assert step.check(processor.apply(step.seen.clone()), rows) == sum(
            row.mix is not None for row in rows
        )


@st.composite
def batches(draw):
    """Rows of every kind in any order: plain, contrasted, in groups whole and not, edited and not."""
    rows = [Row() for _ in range(draw(st.integers(0, 3)))]
    for number in range(draw(st.integers(1, 6))):
        mix = draw(st.sampled_from(MIXES))
        needs = {voice.member for voice in mix.voices if voice.source == "member"}
        missing = draw(st.sets(st.sampled_from(sorted(needs)), max_size=1)) if needs else set()
        edits = {"logit_bias": {draw(st.integers(0, VOCAB - 1)): draw(st.sampled_from([-3.0, 1.0, 4.0]))}}
        rows += group_of(
            number,
            mix,
            missing=missing,
            params=edits if draw(st.booleans()) else {},
            drawn=draw(st.integers(0, 10)),
        )
    return draw(st.permutations(rows))


@settings(max_examples=120, deadline=None)
@given(batches(), st.integers(0, 2**31), st.sampled_from([0.3, 3.0]), st.sampled_from([19, VOCAB, 30]))
def test_batches_of_all_kinds(rows, seed, scale, width):
    processor, stage = v1(rows)
    step = Step.of(rows, seed, width, scale)
    step.on(stage)
    step.check(processor.apply(step.seen.clone()), rows)
    check_leading(processor, rows)

    slots = [(7 * row + 3) % 64 for row in range(len(rows))]
    again, other = v2(rows, slots)
    step.on(other)
    step.check(again.apply(step.seen.clone(), context(rows, slots)), rows)
    check_leading(again, rows)


def check_leading(processor, rows):
    """The processor names each follower of a whole group with its leader, and nobody else."""
    whole = {
        each.group
        for each in rows
        if each.mix is not None
        and each.group is not None
        and {voice.member for voice in each.mix.voices if voice.source == "member"}
        <= {other.member for other in rows if other.group == each.group}
    }
    leaders = {each.group: row for row, each in enumerate(rows) if each.group is not None and not each.member}
    expected = {
        (row, leaders[each.group]) for row, each in enumerate(rows) if each.group in whole and each.member
    }
    leading = processor.leading()
    if leading is None:
        assert expected == set()
    else:
        assert [tensor.dtype for tensor in leading] == [torch.int64] * 2
        assert len(leading[0]) == len(expected)
        assert set(zip(*(tensor.tolist() for tensor in leading), strict=True)) == expected


def test_large_batches_are_cut_into_parts(monkeypatch):
    """A part's rows are found, edited, measured and scheduled as they are in the whole."""
    monkeypatch.setattr(mixing, "ROOM", 2 * VOCAB)
    edits = {"params": {"logit_bias": {3: 2.0}}}
    rows = [
        row
        for number in range(5)
        for kind, mix in enumerate(MIXES)
        for row in group_of(100 * kind + number, mix, drawn=number, **(edits if number == 3 else {}))
    ]
    processor, stage = v1(rows)
    step = Step.of(rows)
    step.on(stage)
    assert step.check(processor.apply(step.seen.clone()), rows) == 5 * len(MIXES)

    alone = [Row(MIXES[7], drawn=row) for row in range(5)]  # all rows ask, so that none is picked
    processor, stage = v1(alone)
    step = Step.of(alone)
    step.on(stage)
    assert step.check(processor.apply(step.seen.clone()), alone) == 5


def test_neutral_rows_keep_every_bit():
    """Strength 0, a schedule's share of 0, and voices that agree with the expert under a divergence."""
    nothing = {"by": "position", "tokens": 3, "start": 1.0, "end": 0.0}
    voices = (AMATEUR, member(1, -2.0), layer(0, 2), member(2))
    mixes = [
        Mix(strength=0.0, plausibility=0.0),
        Mix(strength=0.0, plausibility=0.0, voices=(member(1),)),
        Mix(strength=0.0, plausibility=0.0, voices=voices, adapt=SURE),
        Mix(strength=3.0, plausibility=0.0, voices=voices, adapt=nothing),
        Mix(strength=3.0, plausibility=0.0, voices=(layer(4),), adapt=nothing),
    ]
    rows = [row for number, mix in enumerate(mixes) for row in group_of(number, mix, drawn=3)]
    processor, stage = v1(rows)
    step = Step.of(rows)
    step.on(stage)
    assert torch.equal(processor.apply(step.seen.clone()), step.seen)

    agreeing = group_of(0, Mix(strength=3.0, plausibility=0.0, voices=(member(1),), adapt=DIVERGING))
    processor, stage = v1(agreeing)
    step = Step.of(agreeing)
    step.seen[1] = step.seen[0]
    step.on(stage)
    assert torch.equal(processor.apply(step.seen.clone()), step.seen)


def test_impossible_tokens_and_faults_of_several_voices():
    mix = Mix(strength=1.0, plausibility=0.0, voices=(member(1, -1.0), member(2, 1.0)))
    rows = group_of(0, mix)
    processor, _ = v1(rows)
    logits = Step.of(rows).seen
    logits[0, 0] = -torch.inf  # banned, so it stays excluded, whatever the voices say
    logits[1, 1] = logits[2, 1] = -torch.inf  # impossible for both, so they cancel
    logits[2, 2] = -torch.inf  # taken away: nothing is preferred to it
    logits[1, 3] = torch.nan  # added: counts as impossible
    before = logits.clone()
    scores = processor.apply(logits)
    torch.testing.assert_close(scores[1:], before[1:], rtol=0.0, atol=0.0, equal_nan=True)
    assert not scores[0].isnan().any()
    assert scores[0, 0] == -torch.inf
    assert scores[0, 1] == before[0, 1]
    assert scores[0].argmax() == 2
    assert scores[0].softmax(-1)[3] == 0.0
    exact = before[0, 4:] + before[1, 4:] - before[2, 4:]
    torch.testing.assert_close(scores[0, 4:], exact)


def test_the_first_of_equally_different_layers_is_heard():
    mix = Mix(strength=1.0, plausibility=0.0, voices=(layer(6, 2, 4),))
    rows = [Row(mix)]
    processor, stage = v1(rows)
    step = Step.of(rows)
    # The same distribution twice, told apart by a constant that a softmax doesn't see; layer 4 differs less.
    step.layers[6] = step.layers[2].clone()
    step.layers[4] = step.own.clone()
    step.layers[2][0, 0] = step.layers[6][0, 0]
    step.on(stage)
    heard = []
    stage.layer_head = lambda states, rows: heard.append(states) or states
    step.check(processor.apply(step.seen.clone()), rows)
    assert [next(k for k, v in step.layers.items() if v is states) for states in heard] == [2, 4, 6]


@pytest.mark.parametrize("adapt", [SURE, DIVERGING])
def test_a_grammar_does_not_make_the_expert_sure(adapt):
    """A mask leaves two tokens; the strength is still that of what the model itself would have said."""
    mix = Mix(strength=2.0, plausibility=0.0, voices=(member(1),), adapt=adapt)
    rows = group_of(0, mix, params={"allowed_token_ids": [4, 5]})
    processor, stage = v1(rows)
    assert stage.editing
    step = Step.of(rows)
    step.seen[0] = -torch.inf
    step.seen[0, 4:6] = step.own[0, 4:6]
    step.on(stage)
    assert step.check(processor.apply(step.seen.clone()), rows) == 1


def test_masks_alone_cost_no_copy_of_the_logits():
    rows = group_of(0, Mix(voices=(member(1),)), params={"allowed_token_ids": [4, 5]})
    assert not v1(rows)[1].editing


@pytest.mark.parametrize(
    ("shape", "shares"),
    [("linear", [0.9, 0.7, 0.5, 0.3, 0.1, 0.1]), ("step", [0.9, 0.9, 0.9, 0.9, 0.1, 0.1])],
)
def test_a_schedule_follows_the_running_answer(shape, shares):
    schedule = {"by": "position", "tokens": 4, "start": 0.9, "end": 0.1, "shape": shape}
    rows = [Row(Mix(strength=2.0, plausibility=0.0, form="ratio", adapt=schedule))]
    made, drawn = config(), []
    stage = stage_of(made)
    processor = ContrastProcessor(made, torch.device("cpu"), False)
    processor.update_state(
        BatchUpdate(batch_size=1, removed=(), added=[(0, rows[0].sampling, [1], drawn)], moved=())
    )
    for expected in shares:
        processor.update_state(None)
        step = Step.of(rows)
        step.on(stage)
        scores = processor.apply(step.seen.clone())
        torch.testing.assert_close(scores, step.own - 2.0 * expected * step.amateur)
        drawn.append(7)
