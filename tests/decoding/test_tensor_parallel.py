"""Both models split over two processes."""

from __future__ import annotations

import os

import pytest
import torch

from motet_decoding.engine.arguments import reading_arguments
from motet_decoding.engine.certainty import measured
from motet_decoding.engine.rewards import number_sampling, read_number
from motet_decoding.testing import llama_config, write_model

from .conftest import mixed_requests, start_pair

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two ranks on a CPU need two cores"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    expert = write_model(tmp_path_factory.mktemp("expert"), llama_config(128, 3), seed=0)
    amateur = write_model(tmp_path_factory.mktemp("amateur"), llama_config(64, 2), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
        with start_pair(expert, amateur, tensor_parallel_size=2) as pair:
            yield pair


def test_two_ranks_agree_with_the_reference(pair, contrasts):
    requests, expected = mixed_requests(pair, contrasts)
    assert pair.tokens(requests) == expected


def test_two_ranks_measure_what_one_would(pair, contrasts):
    requests, _ = mixed_requests(pair, contrasts, count=8, seed=2)
    for index, (_, sampling) in enumerate(requests):
        sampling.extra_args = measured(sampling.extra_args, f"measure-{index}")
    answers = pair.tokens(requests)
    told = pair.run(
        [
            ({"prompt_token_ids": [0]}, number_sampling(reading_arguments(f"measure-{index}", len(answer))))
            for index, answer in enumerate(answers)
        ]
    )
    for (prompt, _), answer, output in zip(requests, answers, told, strict=True):
        ids = prompt["prompt_token_ids"]
        with torch.no_grad():
            logits = pair.expert(torch.tensor([[*ids, *answer]])).logits[0, len(ids) - 1 : -1].double()
        uniform = torch.full_like(logits, 1 / logits.shape[1])
        divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), uniform, reduction="none").sum(-1)
        assert read_number(output) == pytest.approx(float(divergence.mean()), abs=1e-4)
