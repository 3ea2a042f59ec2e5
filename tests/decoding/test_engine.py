"""One real engine with two models, held against a plain transformers loop."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from motet_decoding.contrast import Contrast
from motet_decoding.reference import contrast_scores, drawn_from
from motet_decoding.testing import llama_config, write_model

from .conftest import mixed_requests, start_pair

pytestmark = pytest.mark.engine

PROMPT = list(b"What is 17 plus 25?")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    expert = write_model(tmp_path_factory.mktemp("expert"), llama_config(128, 3), seed=0)
    amateur = write_model(tmp_path_factory.mktemp("amateur"), llama_config(64, 2), seed=1)
    with start_pair(expert, amateur) as pair:
        yield pair


def test_greedy_alone(pair, contrasts):
    plain = pair.reference(PROMPT, None)
    for contrast in contrasts:
        assert pair.tokens([pair.request(PROMPT, contrast)]) == [pair.reference(PROMPT, contrast)]
    assert pair.reference(PROMPT, contrasts[0]) != plain  # or the test would not notice a contrast left out


def test_greedy_in_a_mixed_batch_with_chunked_prefill(pair, contrasts):
    requests, expected = mixed_requests(pair, contrasts)
    assert pair.tokens(requests) == expected


def test_contrast_and_plain_rows_share_full_batches_while_prompts_are_read(pair, contrasts):
    """Requests that outlive the reading of all the prompts: the last is still read while all the others write."""
    rng = random.Random(4)
    prompts = [[rng.randrange(256) for _ in range(40)] for _ in range(32)]
    asked = [None if index % 4 == 0 else rng.choice(contrasts) for index in range(32)]
    pair.llm.collective_rpc("motet_watch")
    answers = pair.tokens(
        [
            pair.request(prompt, contrast, max_tokens=64)
            for prompt, contrast in zip(prompts, asked, strict=True)
        ]
    )
    batches = pair.llm.collective_rpc("motet_batches")[0]
    assert max(tokens for asking, plain, tokens in batches if (asking, plain) == (24, 8)) > 32
    for prompt, contrast, answer in zip(prompts, asked, answers, strict=True):
        assert answer == pair.reference(prompt, contrast, max_tokens=64)


def test_requests_that_come_and_go(pair, contrasts):
    """Seventy requests of very different lengths through 32 places: rows are moved, removed and refilled."""
    requests, expected = mixed_requests(pair, contrasts, count=70, seed=1, max_tokens=40)
    assert pair.tokens(requests) == expected


def test_the_amateur_rests_while_nobody_asks(pair):
    steps, amateur_steps = pair.steps()
    pair.run([pair.request(PROMPT, None) for _ in range(4)])
    plain_steps, plain_amateur_steps = pair.steps()
    assert plain_steps > steps
    assert plain_amateur_steps == amateur_steps
    pair.run([pair.request(PROMPT, Contrast())])
    assert pair.steps()[1] - plain_amateur_steps == pair.steps()[0] - plain_steps > 0


def test_neutral_settings_are_plain_decoding_bit_for_bit(pair):
    neutral = Contrast(strength=0.0, plausibility=0.0)
    sampling = {"temperature": 0.8, "seed": 11, "logprobs": 3, "max_tokens": 40}
    plain, contrasted = pair.run(
        [pair.request(PROMPT, None, **sampling), pair.request(PROMPT, neutral, **sampling)]
    )
    assert contrasted.outputs[0].token_ids == plain.outputs[0].token_ids
    assert contrasted.outputs[0].logprobs == plain.outputs[0].logprobs


def test_a_seed_gives_the_same_answer_whoever_else_is_served(pair, contrasts):
    sampling = {"temperature": 1.0, "seed": 5, "top_p": 0.9}
    alone = pair.tokens([pair.request(PROMPT, contrasts[0], **sampling)])
    crowd, _ = mixed_requests(pair, contrasts, count=9, seed=3)
    assert pair.tokens([*crowd, pair.request(PROMPT, contrasts[0], **sampling)])[-1:] == alone


def next_scores(pair, prompt, contrast):
    """The exact scores of the token after ``prompt``, [vocab]."""
    tokens = torch.tensor([prompt])
    with torch.no_grad():
        expert, amateur = (model(tokens).logits[0, -1].double() for model in (pair.expert, pair.amateur))
    return expert if contrast is None else contrast_scores(expert, amateur, contrast)


@pytest.mark.parametrize(
    "controls",
    [
        {"temperature": 1.0},
        {"temperature": 2.0, "top_k": 5},
        {"temperature": 1.5, "top_p": 0.7},
        {"temperature": 1.5, "min_p": 0.05},
    ],
    ids=str,
)
def test_draws_follow_the_contrastive_distribution(pair, controls):
    contrast = Contrast(strength=0.3, plausibility=0.02)
    expected = drawn_from(next_scores(pair, PROMPT, contrast), **controls).numpy()
    draws = 4_000
    request = pair.request(PROMPT, contrast, max_tokens=1, n=draws, seed=None, **controls)
    tokens = [completion.token_ids[0] for completion in pair.run([request])[0].outputs]
    observed = np.bincount(tokens, minlength=len(expected))
    assert not observed[expected == 0.0].any()
    common = expected * draws >= 5
    assert common.sum() >= 3
    observed = np.append(observed[common], observed[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * draws
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    assert chisquare(observed, wanted).pvalue > 1e-4


def test_a_plain_requests_prefix_never_serves_a_contrast_request(pair):
    rng = random.Random(7)
    prompt, contrast = [rng.randrange(256) for _ in range(200)], Contrast(strength=1.0)
    plain, contrasted = pair.request(prompt, None), pair.request(prompt, contrast)
    assert pair.tokens([plain]) == [pair.reference(prompt, None)]
    first = pair.run([contrasted])[0]
    assert first.num_cached_tokens == 0
    again = pair.run([contrasted])[0]
    assert again.num_cached_tokens > 0
    uncached = pair.run([pair.request(prompt, contrast, skip_reading_prefix_cache=True)])[0]
    assert uncached.num_cached_tokens == 0
    for output in (first, again, uncached):
        assert list(output.outputs[0].token_ids) == pair.reference(prompt, contrast)


def edited_reference(pair, contrast, edit, max_tokens):
    """A greedy loop in which ``edit(expert logits, tokens so far)`` gives masks and biases: (mask, addition)."""
    tokens = []
    for _ in range(max_tokens):
        context = torch.tensor([[*PROMPT, *tokens]])
        with torch.no_grad():
            expert, amateur = (model(context).logits[0, -1] for model in (pair.expert, pair.amateur))
        mask, addition = edit(tokens)
        expert, amateur = expert.masked_fill(mask, -torch.inf), amateur
        tokens.append(int((contrast_scores(expert, amateur, contrast) + addition).argmax()))
    return tokens


def counts(tokens, size):
    return torch.bincount(torch.tensor(tokens, dtype=torch.long), minlength=size).float()


def test_masks_and_penalties_compose(pair):
    contrast, size, steps = Contrast(strength=0.8, plausibility=0.05), pair.expert.config.vocab_size, 12
    nothing, free = torch.zeros(size), torch.zeros(size, dtype=torch.bool)
    allowed = torch.ones(size, dtype=torch.bool)
    allowed[65:91] = False
    cases = {
        "presence": ({"presence_penalty": 1.5}, lambda t: (free, -1.5 * (counts(t, size) > 0))),
        "frequency": ({"frequency_penalty": 0.9}, lambda t: (free, -0.9 * counts(t, size))),
        "allowed": ({"allowed_token_ids": list(range(65, 91))}, lambda t: (allowed, nothing)),
    }
    for name, (params, edit) in cases.items():
        expected = edited_reference(pair, contrast, edit, steps)
        assert pair.tokens([pair.request(PROMPT, contrast, max_tokens=steps, **params)]) == [expected], name
    assert edited_reference(pair, contrast, cases["allowed"][1], steps) != edited_reference(
        pair, contrast, lambda t: (free, nothing), steps
    )


def test_a_logit_bias_counts_once(pair):
    contrast = Contrast(strength=3.0, plausibility=0.0)
    scores = next_scores(pair, PROMPT, contrast)
    best, rival = scores.argsort(descending=True)[:2].tolist()
    gap = float(scores[best] - scores[rival])
    for bias, winner in ((gap * 0.9, best), (gap * 1.1, rival)):
        request = pair.request(PROMPT, contrast, max_tokens=1, logit_bias={rival: bias})
        assert pair.tokens([request]) == [[winner]]


def test_stops_and_grammars(pair):
    from vllm.sampling_params import StructuredOutputsParams

    contrast = Contrast(strength=1.0, plausibility=0.1)
    free = pair.tokens([pair.request(PROMPT, contrast)])[0]
    stopped = pair.run([pair.request(PROMPT, contrast, stop_token_ids=[free[5]])])[0].outputs[0]
    assert (list(stopped.token_ids), stopped.finish_reason) == (free[: free.index(free[5]) + 1], "stop")
    grammar = StructuredOutputsParams(regex="[0-9]{3}-[a-f]{4}")
    answer = (
        pair.run([pair.request(PROMPT, contrast, structured_outputs=grammar, ignore_eos=False)])[0]
        .outputs[0]
        .text
    )
    digits, letters = answer.split("-")
    assert (len(digits), digits.isdigit(), len(letters), set(letters) <= set("abcdef")) == (3, True, 4, True)


def test_logprobs_are_the_experts_own(pair):
    contrast = Contrast(strength=1.0, plausibility=0.1)
    output = pair.run([pair.request(PROMPT, contrast, logprobs=2, prompt_logprobs=1, max_tokens=3)])[0]
    chosen = output.outputs[0].token_ids[0]
    exact = next_scores(pair, PROMPT, None).log_softmax(-1)[chosen]
    assert output.outputs[0].logprobs[0][chosen].logprob == pytest.approx(float(exact), abs=1e-4)
    assert len(output.prompt_logprobs) == len(PROMPT)


def test_answers_of_one_request_differ(pair):
    outputs = pair.run([pair.request(PROMPT, Contrast(), n=4, temperature=1.5, seed=1)])[0].outputs
    assert len({tuple(output.token_ids) for output in outputs}) > 1


def test_a_seed_outlives_a_prompt_read_in_pieces(pair):
    """The same draws whether the prompt was read at once or in several steps, beside others or alone."""
    rng = random.Random(11)
    prompts = [[rng.randrange(256) for _ in range(length)] for length in (20, 150, 40, 200)]
    sampling = {"temperature": 1.0, "seed": 5, "max_tokens": 8}
    for contrast in (None, Contrast()):
        alone = [pair.tokens([pair.request(prompt, contrast, **sampling)])[0] for prompt in prompts]
        together = pair.tokens([pair.request(prompt, contrast, **sampling) for prompt in prompts])
        assert together == alone
