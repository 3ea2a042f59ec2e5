"""One real engine in which answers are contrasted with every kind of voice, held to transformers and PEFT."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from motet_decoding.reference import drawn_from

from .voice_kinds import ACROSS, GREEN, KINDS, LONG, PROMPT, SHORT, ask, crowd
from .voices import ADAPTERS, BLOCK, CONTEXT, Ask, against, start_choir

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def choir(tmp_path_factory):
    with start_choir(tmp_path_factory.mktemp("choir")) as choir:
        yield choir


@pytest.fixture(autouse=True)
def nothing_is_left(choir):
    yield
    assert choir.idle()
    assert not [told for told in choir.told if "~" in told], "a follower was told to the outside"


# Greedy


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone(choir, kind):
    asked = ask(kind)
    answers = choir.answers([asked])
    choir.check([asked], answers)
    alone = choir.steps(Ask(PROMPT, None, asked.adapter), answers[0])
    assert answers[0] != [int(row.argmax()) for row in alone[:-1]], "the voice makes no difference here"


def test_strengths_that_follow_the_answer_differ_from_fixed_ones(choir):
    for kind, (contrast, adapter) in KINDS.items():
        if contrast.adapt is None:
            continue
        fixed = Ask(PROMPT, contrast.model_copy(update={"adapt": None}), adapter)
        assert choir.expected(ask(kind)) != choir.expected(fixed), kind


def test_all_kinds_at_once_with_prompts_in_pieces_and_too_small_a_cache(choir):
    """32 groups, and among them plain requests with and without adapters."""
    asks = crowd(40, seed=3, shortest=8, longest=28)
    before = choir.preemptions()
    choir.check(asks, choir.answers(asks))
    assert choir.preemptions() > before


def test_prompts_come_out_of_the_prefix_cache(choir):
    """A whole number of blocks among them, of which a member must still compute the end."""
    asks = [
        ask(kind, tuple(range(place, place + length)))
        for place, (kind, length) in enumerate(
            [("base", 64), ("longer", 65), ("all kinds", 40), ("low layers", 96), ("amateur", 64), (None, 64)]
        )
    ]
    choir.check(asks, choir.answers(asks))
    again = choir.run(asks)
    choir.check(asks, [output.outputs[0].token_ids for output in again])
    long = [output for one, output in zip(asks, again, strict=True) if len(one.prompt) >= 2 * BLOCK]
    assert len(long) == len(asks) - 1
    assert all(output.num_cached_tokens >= BLOCK for output in long)


def test_a_followers_cached_prompt_is_not_one_that_the_amateur_has_read(choir):
    prompt = tuple((7 * place + 3) % 60 for place in range(100))
    read = against([{"voice": "amateur"}, {"voice": {"prompt": prompt}, "weight": 0.5}])
    for asked in (Ask((5, 6, 7), read), Ask(prompt, against("amateur"))):
        choir.check([asked], choir.answers([asked]))


def test_groups_that_fight_for_adapters_slots(choir):
    """Two slots, three adapters, and each group needs two of them."""
    pairs = [("blue", "green"), ("green", "red"), ("red", "blue")]
    asks = [
        Ask(PROMPT[place % 7 :], against({"adapter": pairs[place % 3][0]}), pairs[place % 3][1])
        for place in range(12)
    ]
    choir.check(asks, choir.answers(asks))


def test_long_answers_whose_blocks_run_out_together(choir):
    """All begin with room for each, and end with room for a few."""
    asks = [
        Ask((*PROMPT, place), against([{"voice": {"prompt": LONG}}, {"voice": {"prompt": SHORT}}]))
        for place in range(5)
    ]
    asks = [one.with_(max_tokens=100) for one in asks]
    before = choir.preemptions()
    choir.check(asks, choir.answers(asks))
    assert choir.preemptions() > before


def test_the_longest_voice_bounds_the_answer(choir):
    longest = tuple(range(CONTEXT - 20))
    asked = Ask(PROMPT, against({"prompt": longest})).with_(max_tokens=100)
    output = choir.run([asked])[0].outputs[0]
    assert (len(output.token_ids), output.finish_reason) == (20, "length")
    choir.check([asked.with_(max_tokens=20)], [output.token_ids])


def test_a_group_for_which_there_is_never_room_fails_and_leaves_others_alone(choir):
    voices = [{"voice": {"adapter": name}} for name in ADAPTERS]  # three, and there are two slots
    impossible, possible = Ask(PROMPT, against(voices)), ask("all kinds")
    outputs = choir.run([possible, impossible, possible])
    assert outputs[1].outputs[0].finish_reason == "error"
    choir.check([possible] * 2, [outputs[place].outputs[0].token_ids for place in (0, 2)])


# Requests that come and go


def test_members_of_aborted_groups_leave_and_the_others_are_unharmed(choir):
    rng = random.Random(5)
    asks = crowd(36, seed=6)
    engine, finished = choir.llm.llm_engine, {}
    waiting = {str(place): one for place, one in enumerate(asks)}
    doomed = set(rng.sample(sorted(waiting), 14))
    step = 0
    while waiting or engine.has_unfinished_requests():
        for name in list(waiting)[: rng.randrange(4)]:
            prompt, sampling, lora = choir.request(waiting.pop(name))
            engine.add_request(name, prompt, sampling, lora_request=lora)
        if step % 3 == 2 and (begun := sorted(doomed - set(waiting) - set(finished))):
            unlucky = rng.choice(begun)
            engine.abort_request([unlucky])
            doomed.discard(unlucky)
            finished[unlucky] = None
        for output in engine.step():
            if output.finished and output.request_id not in finished:
                finished[output.request_id] = output.outputs[0]
        step += 1
    kept = {name: output for name, output in finished.items() if output is not None}
    assert len(finished) == len(asks)
    assert len(finished) - len(kept) >= 8
    choir.check([asks[int(name)] for name in kept], [output.token_ids for output in kept.values()])


# What a leader may ask for beside its voices


def test_several_answers(choir):
    drawn = ask("adapter that reads another prompt", n=3, temperature=1.0, seed=8)
    together = [list(output.token_ids) for output in choir.run([drawn])[0].outputs]
    alone = choir.answers([drawn.with_(n=1, seed=8 + place) for place in range(3)])
    assert together == alone
    assert len(set(map(tuple, together))) == 3


def test_the_end_is_the_leaders(choir):
    asked = ask("all kinds")
    free = choir.expected(asked)
    place = next(at for at in range(4, 16) if free.index(free[at]) == at)
    stopped = choir.run([asked.with_(stop_token_ids=[free[place]])])[0].outputs[0]
    assert (list(stopped.token_ids), stopped.finish_reason) == (free[: place + 1], "stop")
    text = choir.run([asked])[0].outputs[0].text
    stop = next(char for char in text[3:] if char.isascii())
    output = choir.run([asked.with_(stop=[stop])])[0].outputs[0]
    assert (output.text, output.finish_reason) == (text[: text.index(stop)], "stop")
    one = choir.run([asked.with_(max_tokens=1)])[0].outputs[0]
    assert (list(one.token_ids), one.finish_reason) == (free[:1], "length")


def test_an_end_of_the_model_counts_unless_it_is_ignored(choir):
    asked = ask("shorter", logit_bias={258: 100.0}, max_tokens=5)
    for ignored, expected in ((False, ([258], "stop")), (True, ([258] * 5, "length"))):
        output = choir.run([asked.with_(ignore_eos=ignored)])[0].outputs[0]
        assert (list(output.token_ids), output.finish_reason) == expected


def test_logprobs_are_those_of_the_answering_voice(choir):
    asked = ask("adapter that reads another prompt", logprobs=3, prompt_logprobs=1, max_tokens=6)
    output = choir.run([asked])[0]
    plain = Ask(PROMPT, None, asked.adapter)
    for place, told in enumerate(output.outputs[0].logprobs):
        exact = choir.scores(plain, output.outputs[0].token_ids[:place]).log_softmax(-1)
        assert set(exact.topk(3).indices.tolist()) <= set(told)
        assert {token: entry.logprob for token, entry in told.items()} == pytest.approx(
            {token: float(exact[token]) for token in told}, abs=1e-3
        )
    for place, told in enumerate(output.prompt_logprobs[1:], 1):
        exact = choir.scores(Ask(PROMPT[:place], None, asked.adapter)).log_softmax(-1)
        assert told[PROMPT[place]].logprob == pytest.approx(float(exact[PROMPT[place]]), abs=1e-3)


def allowed_by(tokens: str) -> torch.Tensor:
    banned = torch.ones(320, dtype=torch.bool)
    banned[TOKENS[list(tokens.encode())]] = False
    return banned


def token_table() -> np.ndarray:
    """The token of each byte."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    table = np.zeros(128, dtype=np.int64)
    for byte in range(128):
        table[byte] = alphabet.index(split.pre_tokenize_str(chr(byte))[0][0])
    return table


TOKENS = token_table()


@pytest.mark.parametrize("kind", ["all kinds", "voices that are added", "low layers", "proxy-tuning"])
def test_a_grammar_binds_the_leader_and_no_voice(choir, kind):
    from vllm.sampling_params import StructuredOutputsParams

    asked = ask(kind, ignore_eos=False)
    grammar = StructuredOutputsParams(regex="[0-9]{3}-[a-f]{4}")
    output = choir.run([asked.with_(structured_outputs=grammar)])[0].outputs[0]
    answer: list[int] = []
    for place in ["0123456789"] * 3 + ["-"] + ["abcdef"] * 4:
        answer.append(int(choir.scores(asked, answer, allowed_by(place)).argmax()))
    assert list(output.token_ids)[:8] == answer
    assert (len(output.text), output.text[3], output.finish_reason) == (8, "-", "stop")


@pytest.mark.parametrize("kind", ["base", "longer", "low layers", "all kinds"])
def test_masks_and_penalties_compose(choir, kind):
    asked, size = ask(kind, max_tokens=12), 320

    def counts(tokens):
        return torch.bincount(torch.tensor(tokens, dtype=torch.long), minlength=size).double()

    outside = torch.ones(size, dtype=torch.bool)
    outside[65:91] = False
    cases = [
        ({"presence_penalty": 1.5}, None, lambda tokens: -1.5 * (counts(tokens) > 0)),
        ({"frequency_penalty": 0.9}, None, lambda tokens: -0.9 * counts(tokens)),
        ({"allowed_token_ids": list(range(65, 91))}, outside, lambda tokens: 0.0),
    ]
    for params, banned, addition in cases:
        answer: list[int] = []
        for _ in range(12):
            answer.append(int((choir.scores(asked, answer, banned) + addition(answer)).argmax()))
        assert choir.answers([asked.with_(**params)]) == [answer], params


@pytest.mark.parametrize("kind", ["base", "longer", "high layers", "all kinds"])
def test_a_bias_counts_once_and_no_voice_has_it(choir, kind):
    contrast, adapter = KINDS[kind]
    asked = Ask(PROMPT, contrast.model_copy(update={"plausibility": 0.0}), adapter, {"max_tokens": 1})
    scores = choir.scores(asked)
    best, rival = scores.argsort(descending=True)[:2].tolist()
    gap = float(scores[best] - scores[rival])
    for bias, winner in ((gap * 0.9, best), (gap * 1.1, rival)):
        assert choir.answers([asked.with_(logit_bias={rival: bias})]) == [[winner]]


def test_a_least_length_is_kept(choir):
    asked = ask("adapter")
    free = choir.expected(asked)
    banned = torch.zeros(320, dtype=torch.bool)
    banned[free[2]] = banned[258] = True
    answer: list[int] = []
    while free[2] not in answer and len(answer) < 16:
        answer.append(int(choir.scores(asked, answer, banned if len(answer) < 8 else None).argmax()))
    asked = asked.with_(stop_token_ids=[free[2]], min_tokens=8, ignore_eos=False)
    assert choir.answers([asked]) == [answer]
    assert len(answer) >= 8


# Draws


@pytest.mark.parametrize(
    ("voices", "controls", "tokens", "draws"),
    [
        ({**GREEN, "prompt": [5]}, {"temperature": 1.0, "top_k": 3}, 2, 2_000),
        ("base", {"temperature": 2.0, "top_p": 0.7}, 1, 2_000),
        (ACROSS, {"temperature": 1.5, "min_p": 0.05}, 1, 1_000),
        ({"layers": "low"}, {"temperature": 1.2}, 1, 4_000),
    ],
    ids=["another prompt, top-k", "base, top-p", "all kinds, min-p", "low layers"],
)
def test_draws_follow_the_distribution_of_all_voices(choir, voices, controls, tokens, draws):
    """Of two tokens the second is drawn from what the voices say after the first, so all must have taken it."""
    asked = Ask((7, 9), against(voices, strength=0.4, plausibility=0.03), "blue")
    expected = {(): 1.0}
    for _ in range(tokens):
        expected = {
            (*begun, token): share * chance
            for begun, share in expected.items()
            for token, chance in enumerate(drawn_from(choir.scores(asked, begun), **controls).tolist())
            if chance > 0.0
        }
    output = choir.run([asked.with_(max_tokens=tokens, n=draws, **controls)])[0]
    found: dict[tuple[int, ...], int] = {}
    for each in output.outputs:
        found[tuple(each.token_ids)] = found.get(tuple(each.token_ids), 0) + 1
    assert set(found) <= set(expected)
    common = [answer for answer, share in expected.items() if share * draws >= 5]
    assert len(common) >= 3
    observed = [found.get(answer, 0) for answer in common]
    wanted = [expected[answer] * draws for answer in common]
    if len(common) < len(expected):
        observed, wanted = [*observed, draws - sum(observed)], [*wanted, draws - sum(wanted)]
    assert chisquare(observed, wanted, sum_check=False).pvalue > 1e-4


def test_a_seed_gives_the_same_answer_whoever_else_is_served(choir):
    asks = [ask(kind, temperature=1.0, top_p=0.9, seed=5) for kind in ("base", "longer", "all kinds")]
    alone = [choir.answers([one])[0] for one in asks]
    busy = choir.answers([*crowd(12, seed=9), *asks, *crowd(12, seed=10)])[12:15]
    assert busy == alone
    others = choir.answers([one.with_(seed=6) for one in asks])
    assert all(one != other for one, other in zip(alone, others, strict=True))
