"""Options and YAML: both from the settings, the command line beats the file, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_alignment.errors import TrainError
from motet_alignment.train.cli import app
from motet_alignment.train.options import collect, option_of
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.settings import DpoSettings, RewardSettings, SftSettings

DATA = [Path("data.jsonl")]


def config(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "train.yaml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("settings", [SftSettings, RewardSettings, DpoSettings, PpoSettings])
def test_help_tells_of_every_field(settings):
    shown = CliRunner().invoke(app, [settings.kind(), "--help"], env={"COLUMNS": "300"}).output
    for name, field in settings.model_fields.items():
        assert field.description, name
        if name != "data":
            assert f"--{option_of(name, field)} " in shown
            assert field.description in shown


def test_ppo_s_help_is_in_panels_and_paragraphs():
    shown = CliRunner().invoke(app, ["ppo", "--help"], env={"COLUMNS": "100"}).output
    panels = [line.split("─ ")[1].split(" ─")[0] for line in shown.splitlines() if line.startswith("╭─ ")]
    rest = ["Data", "Adapter", "Where and how often", "Training"]
    own = ["Rewards", "Rollouts", "Advantages", "PPO", "KL", "Evaluation", "Memory"]
    assert panels == ["Arguments", "Options", *own, *rest]
    assert "--max-answer" in shown.partition("Rollouts")[2].partition("Advantages")[0]
    assert "…" not in shown  # no option is cut off
    # The description goes over the whole width, though its source is wrapped elsewhere.
    assert (
        "The data are prompts: files with `messages` or `prompt`, or any that the other trainers take,\n"
        in ("\n".join(line.strip() for line in shown.splitlines()))
    )
    assert "\nwhose answers are then left aside. Rewards are adapter:NAME" in "\n".join(
        line.strip() for line in shown.splitlines()
    )


def test_ppo_s_lists_come_from_the_command_line_and_from_yaml(tmp_path: Path):
    file = config(tmp_path, "reward: [adapter:judge, gym]\nweight: [1, 0.5]\nkl-target: 6")
    settings = collect(PpoSettings, {"data": DATA, "config": file})
    assert settings.reward == ("adapter:judge", "gym")
    assert settings.weights == (1.0, 0.5)
    assert collect(PpoSettings, {"data": DATA, "weight": [2.0, 3.0], "config": file}).weights == (2.0, 3.0)
    with pytest.raises(TrainError, match="no option of motet train ppo; did you mean kl-target"):
        collect(PpoSettings, {"data": DATA, "config": config(tmp_path, "kl-targets: 6")})


def test_yaml_and_the_command_line(tmp_path: Path):
    file = config(
        tmp_path, "learning-rate: 0.5\nbatch_size: 3\neval: held.jsonl\npacking: true\nfrom: tutor\n"
    )
    settings = collect(SftSettings, {"data": DATA, "learning_rate": 0.25, "packing": False, "config": file})
    assert settings.learning_rate == 0.25
    assert settings.packing is False
    assert settings.batch_size == 3
    assert settings.eval == (Path("held.jsonl"),)
    assert settings.start == "tutor"
    assert collect(SftSettings, {"data": DATA, "batch_tokens": 9, "config": file}).batch_size is None


def test_data_may_stand_in_the_file(tmp_path: Path):
    file = config(tmp_path, "data: [one.jsonl, two.jsonl]")
    assert collect(SftSettings, {"data": None, "config": file}).data == (Path("one.jsonl"), Path("two.jsonl"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz: 3", "train.yaml: key 'stepz' is no option of motet train sft; did you mean steps?"),
        ("beta: 0.1", "key 'beta' is no option of motet train sft"),
        ("rank: many", "train.yaml: rank: Input should be a valid integer"),
        ("rank: 0", "train.yaml: rank: Input should be greater than or equal to 1, not 0"),
        ("- rank", "must hold keys and values"),
        ("rank: [", "no valid YAML"),
        ("batch-size: 1\nbatch_size: 2", "key 'batch_size' stands twice"),
        ("rank: 4\nseed: 1\nrank: 8", "key 'rank' stands twice, in line 3 again"),
        ("batch-size: 1\nbatch-tokens: 2", "--batch-size or --batch-tokens, not both"),
    ],
)
def test_bad_yaml(tmp_path: Path, text: str, said: str):
    with pytest.raises(TrainError) as caught:
        collect(SftSettings, {"data": DATA, "config": config(tmp_path, text)})
    assert said in str(caught.value)
    assert "train.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sft"], "no data file was given"),
        (["sft", "data.jsonl", "--dropout", "3"], "--dropout: Input should be less than 1, not 3.0"),
        (["sft", "data.jsonl", "--batch-size", "1", "--batch-tokens", "1"], "not both"),
        (["sft", "data.jsonl", "--eval", "a", "--held-out", "0.1"], "--eval or --held-out, not both"),
        (["dpo", "data.jsonl", "--label-smoothing", "0.1"], "--label-smoothing belongs to --loss robust"),
        (["sft", "data.jsonl", "--mix", "0.5"], "there is no --pretraining"),
        (["ppo", "data.jsonl"], "give a --reward: adapter:NAME, a grader"),
        (
            ["ppo", "data.jsonl", "--reward", "gym", "--weight", "1", "--weight", "2"],
            "as many --weight as --reward",
        ),
        (["ppo", "data.jsonl", "--reward", "gym", "--estimator", "rloo"], "give --answers 2 or more"),
        (["ppo", "data.jsonl", "--reward", "gym", "--answers", "99"], "--answers: Input should be less than"),
        (["sft", "data.jsonl", "--evaluate", "nothing"], "--evaluate nothing: there is no such evaluation"),
        (["sft", "data.jsonl", "--name", "../x"], "can't name an adapter"),
        (["sft", "data.jsonl", "--model", "/no/such"], "/no/such"),
        (["sft", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
    ],
)
def test_what_people_get_wrong_is_one_line(arguments: list[str], said: str):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("motet train: error: ")
