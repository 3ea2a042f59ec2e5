"""Candidates whose certainty a scorer needs, from an engine that is played."""

from __future__ import annotations

import pytest

from motet_decoding.best_of.scorer import ScorerError

from .played import source


@pytest.mark.anyio
async def test_certainty_is_measured_and_read_under_a_name_of_its_own_and_where_it_was_measured():
    made, engine = source(lambda *_: "xyz", needs=["certainty"])
    found = [await made.draw(index) for index in range(2)]
    assert [candidate.certainty for candidate in found] == [1.0, 2.0]
    assert [reading.measure for reading in engine.readings] == list(engine.measured)
    assert [reading.tokens for reading in engine.readings] == [4, 4]
    drawn, read = engine.asked[0], engine.asked[1]
    assert read[2] == f"{drawn[2]}-certainty"
    assert drawn[3].keys() == {"priority", "lora_request", "data_parallel_rank"}
    assert read[3] == {name: drawn[3][name] for name in ("priority", "data_parallel_rank")}
    assert len({options["data_parallel_rank"] for *_, options in engine.asked}) == 1


@pytest.mark.anyio
async def test_nothing_is_measured_or_pinned_where_no_scorer_needs_it():
    made, engine = source(lambda *_: "xyz")
    assert (await made.draw(0)).certainty is None
    assert len(engine.asked) == 1
    assert not engine.measured
    assert "data_parallel_rank" not in engine.asked[0][3]


@pytest.mark.anyio
async def test_the_certainty_of_parts_is_the_mean_over_all_tokens():
    whole = "0123456789"
    made, _ = source(lambda begun, seed: whole[len(begun) :], needs=["certainty"])
    begun = await made.draw(0, tokens=4)
    assert begun.certainty == 1.0
    assert (await made.draw(0, after=begun, part=1)).certainty == (4 * 1.0 + 7 * 2.0) / 11


@pytest.mark.anyio
async def test_a_certainty_that_is_gone_is_the_scorers_failure():
    made, engine = source(lambda *_: "xyz", needs=["certainty"])

    class Forgetful(dict):
        def __contains__(self, name):
            return False

    engine.measured = Forgetful()
    with pytest.raises(ScorerError, match="no measurement of this answer"):
        await made.draw(0)
