"""Both models split over two processes, with voices of every kind."""

from __future__ import annotations

import os

import pytest
import torch

from motet_decoding.engine.arguments import reading_arguments
from motet_decoding.engine.certainty import measured
from motet_decoding.engine.rewards import number_sampling, read_number

from .voice_kinds import ask, crowd
from .voices import Ask, start_choir

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two ranks on a CPU need two cores"),
]


@pytest.fixture(scope="module")
def choir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
        with start_choir(tmp_path_factory.mktemp("choir"), tensor_parallel_size=2) as choir:
            yield choir


def test_two_ranks_agree_with_the_reference(choir):
    asks = crowd(40, seed=3)
    choir.check(asks, choir.answers(asks))
    assert choir.idle()


def test_two_ranks_measure_what_one_would(choir):
    asks = [
        ask(kind) for kind in (None, "amateur", "amateur of an adapter", "base", "low layers", "all kinds")
    ]
    requests = [choir.request(each) for each in asks]
    for index, (_, sampling, _) in enumerate(requests):
        sampling.extra_args = measured(sampling.extra_args, f"measure-{index}")
    answers = [list(output.outputs[0].token_ids) for output in choir.generate(requests)]
    told = choir.generate(
        [
            (
                {"prompt_token_ids": [0]},
                number_sampling(reading_arguments(f"measure-{index}", len(answer))),
                None,
            )
            for index, answer in enumerate(answers)
        ]
    )
    for each, answer, output in zip(asks, answers, told, strict=True):
        logits = torch.stack(choir.steps(Ask(each.prompt, None, each.adapter), answer)[:-1])
        uniform = torch.full_like(logits, 1 / logits.shape[1])
        divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), uniform, reduction="none").sum(-1)
        assert read_number(output) == pytest.approx(float(divergence.mean()), abs=1e-4)
