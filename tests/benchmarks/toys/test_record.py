from __future__ import annotations

import json

import pytest

from motet_benchmarks.statistics import share
from motet_benchmarks.toys import Recipe
from motet_benchmarks.toys.evaluate import Outcomes, Results, Trial
from motet_benchmarks.toys.record import WEIGHTS, Made, Record, check, digest, read, write

MADE = Made(parameters=3, tokens=20, minutes=50.2, threads=2, loss=0.3, sha256="0" * 64)
RECORD = Record(Recipe(), {"addition": 0.28}, "2.13.0+cpu", {"expert": MADE, "amateur": MADE})


@pytest.mark.parametrize("measured", [False, True])
def test_a_record_is_read_as_it_was_written(tmp_path, measured: bool):
    record = RECORD
    if measured:
        line = Outcomes(["addition"] * 2, [True, False], [False] * 2, [True] * 2).line()
        trials = (Trial(0.5, 0.1, share([True, False])),)
        results = Results(2, 0, 0.5, 0.1, trials, line, line, {"addition": line})
        record = Record(RECORD.recipe, RECORD.shares, RECORD.torch, RECORD.made, results)
    write(record, tmp_path / "new" / "toys.json")
    assert read(tmp_path / "new" / "toys.json") == record
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["toys.json"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"made": {"expert": {"parameters": 1}}}, "made.expert.tokens"),
        ({"made": 3}, "made"),
        ({"made": {}}, "made: must name expert and amateur"),
        ({"torch": None}, "torch"),
        ({"recipe": {"vocabulary": "many"}}, "recipe.vocabulary"),
    ],
)
def test_other_files_are_refused_by_name_and_field(tmp_path, change: dict[str, object], field: str):
    path = tmp_path / "toys.json"
    write(RECORD, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=rf"toys\.json: not the record of a pair: {field}"):
        read(path)


def test_what_is_no_json_is_refused_by_name(tmp_path):
    (tmp_path / "toys.json").write_text("{")
    with pytest.raises(ValueError, match=r"toys\.json: not the record of a pair: it: Invalid JSON"):
        read(tmp_path / "toys.json")


def test_other_weights_are_refused_by_name(tmp_path):
    for name in ("expert", "amateur"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS).write_bytes(name.encode())
    made = {name: Made(3, 20, 50.2, 2, 0.3, digest(tmp_path / name)) for name in ("expert", "amateur")}
    record = Record(Recipe(), {}, "2", made)
    check(record, tmp_path)
    (tmp_path / "amateur" / WEIGHTS).write_bytes(b"another")
    with pytest.raises(ValueError, match=rf"amateur/{WEIGHTS}: not the weights on record: sha256 "):
        check(record, tmp_path)
