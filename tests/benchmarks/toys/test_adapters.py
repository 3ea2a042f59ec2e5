"""The recipe of the bundled adapters, on a model that is too small to learn anything: what is trained and published."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore, fingerprint
from motet_benchmarks import gym
from motet_benchmarks.gym.examples import comparison
from motet_benchmarks.toys import answers, cli
from motet_benchmarks.toys.adapted import Scorer
from motet_benchmarks.toys.adapters import BASE, DPO, NAMES, REWARD, SFT
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.own import own_mistakes
from motet_benchmarks.toys.record import check, read, write


def test_the_first_seeds_adapters_are_a_store_by_themselves(pair):
    folder, record, _ = pair
    store = AdapterStore(folder / "adapters")
    assert store.names() == sorted(NAMES)
    known = fingerprint(str(folder / "expert"))
    for name, kind in ((SFT, "sft"), (DPO, "dpo"), (REWARD, "reward")):
        (adapter,) = store.versions(name)
        store.verify(adapter)
        assert adapter == store.get(name)
        assert (adapter.kind, adapter.version) == (kind, record.adapters.versions[name])
        assert known.differences(adapter.manifest.base) == ()
        assert adapter.manifest.base.name == BASE
        assert adapter.manifest.settings["seed"] == 5
    learnt = {name: [file.examples for file in store.get(name).manifest.data] for name in NAMES}
    gyms, own = learnt.pop(REWARD)
    assert learnt == {SFT: [24], DPO: [6]}
    # A right and a wrong answer of the SFT adapter's to each of a dozen problems, and nearly as many slips.
    assert gyms == 24
    assert 12 + 6 <= own <= 12 + 12
    assert record.adapters.measured.seeds[0].pairs == 6
    start = store.get(SFT).reference
    assert store.get(DPO).manifest.parents == (start,)
    assert store.get(DPO).manifest.settings["from"] == start
    # What it learnt of the gym's mistakes alone isn't there any more.
    (former,) = store.get(REWARD).manifest.parents
    assert former.startswith(f"{REWARD}@")
    assert former != store.get(REWARD).reference
    check(record, folder)


def test_nothing_of_the_machine_and_nothing_of_writers_stays_in_it(pair):
    folder, _, _ = pair
    home = folder / "adapters"
    assert {path.name for path in home.iterdir()} == set(NAMES)
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
        if path.suffix == ".json":
            assert str(folder.parent) not in path.read_text()
            assert "/tmp" not in path.read_text()
        assert path.is_dir() or path.suffix in {".json", ".safetensors"}
    assert {path.name for path in folder.iterdir()} == {
        "expert",
        "amateur",
        "adapters",
        "toys.json",
        "README.md",
    }


def test_every_seed_is_on_record_and_in_the_card(pair):
    folder, record, said = pair
    measured = record.adapters.measured
    assert [one.seed for one in measured.seeds] == [5, 6]
    assert record.adapters.recipe.seeds == (5, 6)
    assert record.adapters.torch == torch.__version__
    assert [set(one.minutes) for one in measured.seeds] == [set(NAMES), {SFT, DPO}]
    assert [one.reward is None for one in measured.seeds] == [False, True]
    # A right and a wrong answer were "drawn" to every problem.
    assert measured.seeds[0].reward.own.of == measured.seeds[0].sft.plain.of
    assert {one.sft.plain.of for one in measured.seeds} == {len(measured.families)}
    text = (folder / "README.md").read_text()
    assert text == card(record, record.measured)
    for name in NAMES:
        assert f"| `{name}` | `{record.adapters.versions[name]}` |" in text
    assert "SFT, seed 6 | DPO, seed 5" in text
    assert "{" not in text
    assert sum(line.startswith("seed 6: ") for line in said) == 5


def test_preferences_are_between_the_right_answer_and_the_adapters_own_wrong_one(pair, spoken, monkeypatch):
    folder, _, _ = pair
    monkeypatch.setattr(answers, "answers", spoken)
    asked = gym.instances("train", count=1, seed=0)
    sft = AdapterStore(folder / "adapters").get(SFT).path
    found = own_mistakes(folder / "expert", sft, asked)
    assert found == [comparison(one, one.mistaken(one.mistakes[0])) for one in asked[1::4]]


def test_other_adapters_than_those_on_record_are_named(pair):
    folder, record, _ = pair
    other = replace(record.adapters, versions={**record.adapters.versions, DPO: "0" * 12})
    with pytest.raises(ValueError, match=rf"adapters/{DPO}: version [0-9a-f]{{12}}, on record 000000000000"):
        check(replace(record, adapters=other), folder)


def test_a_damaged_adapter_is_named(pair, tmp_path):
    folder, record, _ = pair
    for name in ("expert", "amateur", "adapters"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "adapters").unlink()
    (tmp_path / "adapters").mkdir()
    with pytest.raises(AlignmentError, match=SFT):
        check(record, tmp_path)


def test_scores_do_not_hang_on_the_batch(pair):
    folder, _, _ = pair
    scorer = Scorer(folder / "expert", AdapterStore(folder / "adapters").get(REWARD).path)
    asked = [(problem, problem.answer) for problem in gym.instances("validation", count=1, seed=0)]
    together = scorer(asked, rows=16)
    assert together == pytest.approx([scorer([one])[0] for one in asked], abs=1e-5)
    assert len({round(score, 6) for score in together}) > len(asked) / 2


def test_adapters_are_trained_for_a_measured_pair_only(pair, tmp_path):
    folder, record, _ = pair
    write(replace(record, measured=None), tmp_path / "toys.json")
    ran = CliRunner().invoke(
        cli.app, ["adapters", "--folder", str(folder), "--results", str(tmp_path / "toys.json")]
    )
    assert ran.exit_code == 2
    assert "has not been measured yet" in " ".join(ran.output.replace("│", " ").split())


def test_a_record_of_other_adapters_is_refused(pair, tmp_path):
    _, record, _ = pair
    write(record, tmp_path / "toys.json")
    told = json.loads((tmp_path / "toys.json").read_text())
    del told["adapters"]["versions"][SFT]
    (tmp_path / "toys.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"adapters\.versions: must name motet-sft"):
        read(tmp_path / "toys.json")
