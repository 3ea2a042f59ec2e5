"""Fails when vLLM moves what is timed beside ours; then ``adapters/vllm_private.py`` wants a new look."""

from __future__ import annotations

import inspect

import pytest
import torch
import vllm

from motet_benchmarks.adapters import products, vllm_private
from motet_benchmarks.adapters.products import Case
from motet_benchmarks.errors import BenchmarkError
from motet_decoding.engine.cpu_lora import GroupedLora


def test_the_version_that_was_looked_at():
    assert vllm.__version__.split("+")[0] == "0.32.0"


def test_vllms_own_class_is_what_is_timed():
    theirs = vllm_private.punica()
    assert issubclass(GroupedLora, theirs)
    assert theirs is not GroupedLora
    assert list(inspect.signature(theirs.add_lora_linear).parameters)[:7] == [
        "self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [vllm_private.punica(), GroupedLora])
def test_each_row_gets_its_adapter(kind):
    torch.manual_seed(0)
    places = [1, 0, 2, 2, 0]
    x, y = torch.randn(5, 6), torch.randn(5, 7)
    a = tuple(torch.randn(3, 1, 2, 6) for _ in range(2))
    b = tuple(torch.randn(3, 1, width, 2) for width in (4, 3))
    expected = torch.stack(
        [
            row
            + torch.cat(
                [second[place, 0] @ first[place, 0] @ given for first, second in zip(a, b, strict=True)]
            )
            for row, given, place in zip(y, x, places, strict=True)
        ]
    )
    vllm_private.add(vllm_private.ready(kind, places), y, x, a, b)
    torch.testing.assert_close(y, expected)


def test_a_case_is_timed():
    steps: list[str] = []
    (line,) = products.measure(steps.append, seed=0, chosen=[Case(256, 4, 4)])
    assert steps == ["hidden 256, 4 rows, 4 adapters"]
    assert line.rounds >= products.FEWEST
    for spent in (line.motet, line.vllm, line.layer):
        assert 0 < spent.low <= spent.value <= spent.high
    assert line.vllm_over_motet.value > 0
    assert line.motet_over_layer.value > 0


def test_a_wrong_product_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(GroupedLora, "add_lora_linear", lambda self, y, *rest: y.add_(1.0))
    with pytest.raises(BenchmarkError, match="the result of motet is not that of a plain loop"):
        products.measure(lambda text: None, seed=0, chosen=[Case(256, 2, 1)])


def test_every_case_can_be():
    cases = products.cases()
    assert len(set(cases)) == len(cases)
    assert {case.hidden for case in cases} == {256, 2048}
    assert (min(case.rows for case in cases), max(case.rows for case in cases)) == (1, 512)
    assert all(case.adapters <= case.rows for case in cases)
