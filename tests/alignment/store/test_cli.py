"""``motet adapters``: what it prints, what it changes, how it complains."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.alignment.store.folders import make_adapter
from typer.testing import CliRunner

from motet_alignment.store.cli import app
from motet_alignment.store.tables import age, key_metric, size


@pytest.fixture
def motet(store):
    """Runs ``motet adapters ...`` on the test's store; what it printed, after checking the exit code."""

    def go(*words: str, code: int = 0) -> str:
        ran = CliRunner().invoke(app, [*words, "--store", str(store.root)])
        assert ran.exit_code == code, ran.output
        assert (code == 2) == ran.output.startswith("motet adapters: error: ")
        return ran.output

    return go


def test_add_list_show_remove(motet, store, base_folder, tmp_path):
    folder = make_adapter(tmp_path / "from-elsewhere")
    (folder / "optimizer.pt").touch()
    said = motet("add", str(folder), "--name", "tutor", "--kind", "dpo", "--base", str(base_folder))
    adapter = store.get("tutor")
    assert (
        said == f"Left out: README.md, optimizer.pt.\nPublished {adapter.reference}, the current version.\n"
    )
    assert adapter.kind == "dpo"
    heading, row = motet("list").splitlines()
    assert heading.split() == ["name", "current", "kind", "base", "versions", "age", "measured"]
    assert row.split()[:5] == ["tutor", adapter.version, "dpo", "tiny", "1"]
    page = motet("show", "tutor")
    assert f"{adapter.reference} (current)" in page
    assert "down_proj, q_proj" in page
    assert motet("remove", "tutor") == f"Removed {adapter.reference}.\n"
    assert motet("list").startswith(f"No adapters in {store.root}. ")


def test_json_is_complete(motet, publish):
    first, second = (
        publish(1, metrics={"accuracy": {"value": 0.75, "low": 0.7, "high": 0.8, "n": 9}}),
        publish(2),
    )
    (listed,) = json.loads(motet("list", "--json"))
    assert listed["name"] == "tutor"
    assert listed["current"] == second.version
    assert [each["version"] for each in listed["versions"]] == [first.version, second.version]
    shown = json.loads(motet("show", first.reference, "--json"))
    assert shown.pop("current") is False
    assert shown.pop("path") == str(first.path)
    assert shown == first.manifest.model_dump(mode="json")
    assert "accuracy: 0.75 (0.7 to 0.8)" in motet("show", first.reference)


def test_moves_say_how_to_undo_them(motet, publish, store):
    first, second = publish(1), publish(2)
    assert f"stands for {first.version} again" in motet("rollback", "tutor")
    assert store.current("tutor") == first.version
    undo = motet("promote", second.reference)
    assert undo == f"tutor now stands for {second.version}. Undo: motet adapters rollback tutor\n"
    assert motet("promote", second.reference) == f"tutor stood for {second.version} already.\n"
    assert "is the current version" in motet("remove", second.reference, code=2)
    assert f"tutor stands for {first.version}" in motet("remove", second.reference, "--force")
    assert "can't go back" in motet("rollback", "tutor", code=2)


def test_prune_and_remove_all(motet, publish, store):
    versions = [publish(seed).version for seed in range(4)]
    assert motet("prune", "--keep", "1") == "".join(f"Removed tutor@{version}.\n" for version in versions[:2])
    assert motet("prune", "tutor", "--keep", "1") == "Nothing to remove.\n"
    assert "say which" in motet("remove", "tutor", code=2)
    assert "give it the name alone" in motet("remove", f"tutor@{versions[3]}", "--all", code=2)
    motet("remove", "tutor", "--all")
    assert store.names() == []


def test_damage_is_reported_and_hides_nothing_else(motet, publish, store):
    whole, broken, bad = publish(1), publish(2), publish(3, name="worse")
    weights = broken.path / "adapter_model.safetensors"
    weights.unlink()
    weights.write_bytes(b"")
    assert f"{whole.reference} is whole." in motet("verify", whole.reference)
    assert "is not what was published" in motet("verify", broken.reference, code=2)
    (bad.path / "motet.json").unlink()
    (store.root / "worse" / "alias.json").write_text("{")
    listed = motet("list")
    assert "tutor" in listed
    assert "1 damaged" in listed or "2 damaged" in listed
    assert "damaged: " in listed
    ran = CliRunner().invoke(app, ["verify", "--store", str(store.root)])
    assert ran.exit_code == 2
    assert f"{whole.reference} is whole." in ran.output
    assert "is not what was published" in ran.output
    assert "has no motet.json" in ran.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "nobody"], "there is no adapter nobody"),
        (["show", "../x"], "can't name an adapter"),
        (["promote", "nobody@012345"], "there is no adapter nobody"),
        (
            ["add", "/nowhere", "--name", "x", "--kind", "sft", "--base", "/nowhere"],
            "no adapter folder /nowhere",
        ),
    ],
)
def test_complaints_are_one_sentence(motet, words, complaint):
    said = motet(*words, code=2)
    assert complaint in said
    assert said.count("\n") == 1


def test_store_is_found_through_motet_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOTET_HOME", str(tmp_path))
    assert CliRunner().invoke(app, ["list"]).output.startswith(f"No adapters in {tmp_path / 'adapters'}. ")


def test_figures_as_people_read_them():
    now = datetime(2026, 1, 10, tzinfo=UTC)
    ages = {5: "5 s", 70: "1 min", 7_300: "2 h", 200_000: "2 d", -5: "0 s"}
    assert {seconds: age((now - timedelta(seconds=seconds)).isoformat(), now) for seconds in ages} == ages
    assert [size(count) for count in (999, 1_500, 2_500_000, 7_000_000_000)] == [
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "7.0 GB",
    ]
    assert key_metric({"name": "x", "ok": True, "loss": 0.12345}) == "loss 0.12345"
    assert key_metric({}) == ""
    measured = {"steps": 27, "held_out_loss": {"value": 1.5}}
    assert key_metric(measured) == "held_out_loss 1.5"
    measured["held_out_accuracy"] = {"value": 0.75}
    assert key_metric(measured) == "held_out_accuracy 0.75"
    assert key_metric({**measured, "gym_accuracy": 0.5}) == "gym_accuracy 0.5"
