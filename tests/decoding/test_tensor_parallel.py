"""Both models split over two processes."""

from __future__ import annotations

import os

import pytest

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
