"""Every contender's result is right where it runs, and a wrong one is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.kernels import contests, inputs, rivals
from motet_benchmarks.kernels.cases import CONTROLS, FLAT, Case, Plan, cases
from motet_benchmarks.kernels.contests import EAGER, FLASHINFER, MOTET, VLLM_V1, contest, find_rivals
from motet_benchmarks.kernels.faults import logprobs_fault, sample_fault, scores_fault
from motet_benchmarks.kernels.run import refusal

SMALL = Plan(batches=(5,), vocabs=(300,))


@pytest.fixture(scope="module")
def found():
    return find_rivals("cpu", compiled=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_contender_agrees_in_every_case(found, dtype):
    ran = set()
    for case in cases(Plan(batches=(5,), vocabs=(300,), dtype=dtype), "cpu"):
        ready = contest(case, found, 0)
        assert set(ready.runs) | set(ready.absent) == set(contests.CONTENDERS), case
        for name in ready.runs:
            assert refusal(name, ready, case) is None, (str(case), name)
            ran.add((case.job, name))
    assert {
        (job, name) for job in ("contrast", "contrast_sample", "token_logprobs") for name in (MOTET, EAGER)
    } <= ran


def test_a_run_after_a_restored_one_gives_the_same(found):
    for case in cases(Plan(jobs=("contrast", "contrast_sample"), batches=(4,), vocabs=(200,)), "cpu"):
        ready = contest(case, found, 0)
        results = []
        for _ in range(2):
            ready.restore()
            result = ready.runs[MOTET]()
            results.append(result.clone() if case.job == "contrast" else result)
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def voices(how="temperature", mood="peaky"):
    case = Case("contrast_sample", "every row contrast", how, mood, "float32", 4, 200)
    return inputs.voices(case, "cpu", 3)


def test_wrong_scores_are_told():
    given = voices()
    wanted = rivals.contrasted(given.expert, given.amateur, given.rows)
    assert scores_fault(wanted, given, wanted + 5) is None  # a constant cancels in the softmax
    best = wanted.argmax(dim=1)
    masked = wanted.clone()
    masked[1, best[1]] = -torch.inf
    assert scores_fault(wanted, given, masked) == "1 tokens are on the wrong side of the mask"
    masked = wanted.clone()
    masked[2, wanted[2].argmin()] = 0.0
    assert scores_fault(wanted, given, masked) == "1 tokens are on the wrong side of the mask"
    wide = voices(mood=FLAT)
    wanted = rivals.contrasted(wide.expert, wide.amateur, wide.rows)
    assert "scores are wrong by up to" in str(scores_fault(wanted, wide, wanted * 1.5))


@pytest.mark.parametrize("how", ["greedy", "top-k", "top-p", "everything"])
def test_wrong_tokens_are_told(how):
    given = voices(how, FLAT)
    scores = rivals.scores(given, given.expert, given.amateur)
    best = scores.argmax(dim=1)
    kept = rivals.truncated(scores, given.controls, given.sampling).log_softmax(dim=1)
    logprob = kept.gather(1, best[:, None])[:, 0]
    assert sample_fault(scores, given, (best, logprob)) is None
    assert sample_fault(scores, given, (best, None)) is None
    worst = best.clone()
    worst[0] = scores[0].argmin()
    assert sample_fault(scores, given, (worst, None)) == "1 of 4 tokens can't have been drawn"
    assert "log-probabilities are wrong" in str(sample_fault(scores, given, (best, logprob + 0.05)))
    assert "log-probabilities are wrong" in str(sample_fault(scores, given, (best, logprob * torch.nan)))
    assert sample_fault(scores, given, (best - 500, None)) == "tokens are outside the vocabulary"


def test_wrong_log_probabilities_are_told():
    case = Case("token_logprobs", "from logits", "forward", "peaky", "float32", 3, 9)
    wanted = (torch.tensor([-1.0, -2.0]), torch.tensor([[0.5, 0.1]]))
    assert logprobs_fault(wanted, case, wanted) is None
    assert "log-probabilities" in str(logprobs_fault(wanted, case, (wanted[0] + 0.1, wanted[1])))
    assert "gradients" in str(logprobs_fault(wanted, case, (wanted[0], wanted[1] * torch.nan)))


def test_a_rival_that_is_wrong_or_fails_is_refused_and_ours_ends_the_run(found):
    def breaks():
        raise RuntimeError("\nno kernel for this\nand more")

    case = next(cases(SMALL, "cpu"))
    ready = contest(case, found, 0)
    nothing = torch.full((5, 300), -torch.inf)
    ready.runs[VLLM_V1], ready.runs[FLASHINFER] = lambda: nothing, breaks
    assert "wrong side of the mask" in str(refusal(VLLM_V1, ready, case))
    assert refusal(FLASHINFER, ready, case) == "failed: no kernel for this"
    ready.runs[MOTET] = lambda: nothing
    with pytest.raises(BenchmarkError, match="our own result"):
        refusal(MOTET, ready, case)
    ready.runs[MOTET] = breaks
    with pytest.raises(RuntimeError, match="no kernel for this"):
        refusal(MOTET, ready, case)


FLASHINFERS = {
    "temperature": "sampling_from_logits",
    "top-k": "top_k_sampling_from_probs",
    "top-p": "top_p_sampling_from_probs",
    "min-p": "min_p_sampling_from_probs",
    "everything": "top_k_top_p_sampling_from_logits",
}


@pytest.mark.parametrize("how", FLASHINFERS)
def test_flashinfer_is_handed_what_its_kernel_takes(how):
    """Only a GPU has the kernels themselves; a stand-in shows which one is called, and with what."""
    given = voices(how)
    scores = rivals.scores(given, given.expert, given.amateur)
    called = []

    def stand_in(name):
        def call(values, *controls):
            called.append((name, [float(control[0]) for control in controls]))
            assert values.dtype == torch.float32
            if name.endswith("probs"):
                torch.testing.assert_close(values.sum(dim=1), torch.ones(4))
            return values.argmax(dim=1).int()

        return call

    sampling = SimpleNamespace(**{name: stand_in(name) for name in FLASHINFERS.values()})
    token = rivals.flashinfer_draw(SimpleNamespace(sampling=sampling), scores, given)
    controls = CONTROLS[how]
    wanted = [value for value in (controls.top_k, controls.top_p if controls.top_p < 1 else 0) if value]
    wanted = wanted or ([controls.min_p] if controls.min_p else [])
    assert called == [(FLASHINFERS[how], pytest.approx(wanted))]
    assert sample_fault(scores, given, (token, None)) is None
