"""Both models compiled, the expert one whose class vLLM compiles as a whole when it is served alone."""

from __future__ import annotations

import os
import shutil

import pytest

from motet_decoding.testing import llama_config, write_model

from .conftest import mixed_requests, start_pair

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None,
        reason="torch.compile on a CPU needs a C++ compiler, and there is neither $CXX nor g++",
    ),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from transformers import Ernie4_5Config

    ernie = Ernie4_5Config(
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=258,
    )
    expert = write_model(tmp_path_factory.mktemp("ernie"), ernie, seed=0)
    amateur = write_model(tmp_path_factory.mktemp("llama"), llama_config(64, 2), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(tmp_path_factory.mktemp("cache")))
        with start_pair(expert, amateur, enforce_eager=False) as pair:
            yield pair


def test_compiled_models_agree_with_the_reference(pair, contrasts):
    of_expert, of_amateur = pair.llm.collective_rpc("motet_compiled")[0]
    assert (of_expert, of_amateur) == (1, 1)
    requests, expected = mixed_requests(pair, contrasts, count=24)
    assert pair.tokens(requests) == expected


def test_the_amateur_still_rests_while_nobody_asks(pair, contrasts):
    """Whether it runs is decided in every step, not once when the models were compiled."""
    _, before = pair.steps()
    pair.run([pair.request([1, 2, 3], None)])
    assert pair.steps()[1] == before
    pair.run([pair.request([1, 2, 3], contrasts[0])])
    assert pair.steps()[1] > before
