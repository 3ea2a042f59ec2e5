from __future__ import annotations

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.kernels.cases import (
    BATCHES,
    CONTROLS,
    JOBS,
    SAMPLE,
    SHORT,
    VOCABS,
    Plan,
    choose,
    named_jobs,
    variants,
)


def test_a_gpu_measures_every_shape():
    chosen, left_out = choose(Plan(), "cuda")
    assert left_out == 0
    assert len(chosen) == len(set(chosen))
    for job in JOBS:
        shapes = {(case.batch, case.vocab) for case in chosen if case.job == job}
        assert shapes == {(batch, vocab) for batch in BATCHES for vocab in VOCABS}
        assert {(case.subject, case.how) for case in chosen if case.job == job} == set(variants(job))


def test_a_cpu_measures_every_variant_but_not_every_shape():
    chosen, left_out = choose(Plan(), "cpu")
    everything, none = choose(Plan(everything=True), "cpu")
    assert left_out == len(everything) - len(chosen) > 0
    assert none == 0
    assert set(chosen) < set(everything)
    for job in JOBS:
        assert {(case.subject, case.how) for case in chosen if case.job == job} == set(variants(job))
        assert {case.vocab for case in chosen if case.job == job} == set(VOCABS)


def test_named_shapes_are_measured_in_full():
    chosen, left_out = choose(Plan(jobs=("contrast",), batches=(3, 256), vocabs=(7,)), "cpu")
    assert left_out == 0
    assert {(case.batch, case.vocab) for case in chosen} == {(3, 7), (256, 7)}
    assert len(chosen) == 2 * 2 * len(variants("contrast"))  # shapes and moods


def test_the_short_run_has_every_job_and_is_part_of_the_long_one():
    short, left_out = choose(SHORT, "cpu")
    typical, _ = choose(Plan(), "cpu")
    assert set(short) < set(typical)
    assert {case.job for case in short} == set(JOBS)
    assert left_out > 0


def test_penalties_have_the_type_that_they_need():
    for case in choose(Plan(jobs=(SAMPLE,)), "cuda")[0]:
        assert case.dtype == ("float32" if CONTROLS[case.how].penalties else "bfloat16")


def test_jobs_are_named_in_any_order():
    assert named_jobs(["token_logprobs", "contrast"]) == ("contrast", "token_logprobs")
    with pytest.raises(BenchmarkError, match="--job: unknown draw; there are contrast, contrast_sample"):
        named_jobs(["draw"])
    with pytest.raises(BenchmarkError, match="name at least one"):
        named_jobs([])
