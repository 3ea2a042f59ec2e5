from __future__ import annotations

import pytest
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from motet_decoding.best_of.request import parse_best_of
from motet_decoding.errors import RequestError
from motet_server.best_of.sampling import check_sampling

FOUR = {"n": 4, "by": "likelihood"}
BOUND = {"at": 4, "max_total_tokens": 15}
GRAMMAR = StructuredOutputsParams(json={"type": "object"})


@pytest.mark.parametrize(
    ("best_of", "sampling", "field"),
    [
        (FOUR, {"temperature": 0}, "temperature"),
        (FOUR, {"top_k": 1}, "top_k"),
        (FOUR, {"min_p": 1.0}, "min_p"),
        ({**FOUR, "reject": BOUND}, {}, "best_of.reject.max_total_tokens"),
        ({**FOUR, "reject": {"at": 4}}, {"structured_outputs": GRAMMAR}, "tools"),
        ({**FOUR, "steps": {"width": 2}}, {"structured_outputs": GRAMMAR}, "tools"),
    ],
)
def test_what_vllm_would_draw_in_vain_is_refused_and_named(best_of, sampling, field):
    with pytest.raises(RequestError) as refused:
        check_sampling(parse_best_of(best_of), SamplingParams(max_tokens=20, **sampling))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("best_of", "sampling"),
    [
        ({**FOUR, "n": 1}, {"temperature": 0}),
        (FOUR, {"top_k": 2, "min_p": 0.9}),
        (FOUR, {"structured_outputs": GRAMMAR}),
        ({**FOUR, "reject": {**BOUND, "max_total_tokens": 16}}, {}),
    ],
)
def test_what_tells_candidates_apart_is_taken(best_of, sampling):
    check_sampling(parse_best_of(best_of), SamplingParams(max_tokens=20, **sampling))
