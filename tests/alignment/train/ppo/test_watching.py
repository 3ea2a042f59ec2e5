"""What is seen of a PPO run, from invented figures: the bar, lines, TensorBoard, the plot, and sample answers."""

from __future__ import annotations

import io
import json
import math
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from motet_alignment.data import Message
from motet_alignment.errors import TrainError
from motet_alignment.train.estimates import Estimate
from motet_alignment.train.ppo import bar as bars
from motet_alignment.train.ppo import watching
from motet_alignment.train.ppo.bar import Bar, Phase
from motet_alignment.train.ppo.plot import draw
from motet_alignment.train.ppo.rollout import Prompt, Rollout
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.shown import SampleAnswer, block, spread
from motet_alignment.train.ppo.watching import IterationReport, Watch
from motet_alignment.train.record import read_lines

SETTINGS = PpoSettings(data=(Path("x.jsonl"),), reward=("gym",), iterations=12, kl_target=6.0)


def figures(iteration: int) -> dict[str, float]:
    return {
        "reward": iteration / 10,
        "reward/gym": iteration / 10,
        "kl": float(iteration),
        "kl_coefficient": 0.05,
        "entropy": 2.0 - iteration / 20,
        "clip_fraction": 0.12,
        "update_kl": 0.01,
        "value_loss": 1 / iteration,
        "explained_variance": 0.5,
        "length": 50.0 + iteration,
        "ended": 0.9,
        "rollout_tokens_per_second": 1234.5,
    }


def held_out(iteration: int, *, gold: bool = True) -> dict[str, Estimate | float]:
    value = iteration / 10
    found: dict[str, Estimate | float] = {
        "reward": Estimate(value=value, low=value - 0.1, high=value + 0.1, n=9)
    }
    if gold:
        found["gold"] = Estimate(value=0.5, low=0.4, high=0.6, n=9)
    return {**found, "kl": 1.5, "length": 40.0, "ended": 0.95}


def sample(total: float, answer: str = "42", **parts: float) -> SampleAnswer:
    return SampleAnswer("p.jsonl:3", "What is 17 + 25?", answer, True, total, parts)


def watch(folder: Path | None, console: Console, begin: int = 0, settings: PpoSettings = SETTINGS) -> Watch:
    return Watch(folder, settings, begin, console, "ppo adder")


def log() -> Console:
    return Console(file=io.StringIO(), width=80)


def written(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def events(folder: Path) -> dict[tuple[str, int], object]:
    """What TensorBoard shows, by tag and step: a run's start takes away what stood there from its step on."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: dict[tuple[str, int], object] = {}
    for file in sorted((folder / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = file.read_bytes()
        while data:  # length, its check sum, the event, its check sum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.session_log.status == SessionLog.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
            for value in event.summary.value:
                text = value.tensor.string_val
                found[value.tag, event.step] = text[0].decode() if text else value.simple_value
    return found


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines each picture was of; none is drawn, which takes a second."""
    counts: list[int] = []
    monkeypatch.setattr(watching, "draw", lambda lines, *_, target: counts.append(len(lines)))
    return counts


def test_a_line_an_iteration_where_nobody_watches(tmp_path: Path):
    console = log()
    with watch(tmp_path, console) as seen:
        seen.evaluation(0, held_out(0))
        for iteration in (1, 2):
            with seen.phase("answering", 8) as phase:
                phase.advance(8)
            seen.iteration(IterationReport(iteration, figures(iteration)))
    lines = written(console).splitlines()
    assert lines[0] == (
        "ppo adder: held out after iteration 0: reward 0.000 (-0.100 to 0.100), gold 0.500 (0.400 to 0.600), KL 1.50, "
        "length 40, ended 95%"
    )
    assert lines[2].startswith(
        "ppo adder: 2 of 12, reward 0.200, KL 2.00, entropy 1.90, clipped 12%, length 52, 1,234 tokens/s, "
    )
    assert lines[2].endswith(" left")
    assert len(lines) == 3
    assert phase.seconds >= 0


def test_metrics_and_tensorboard_hold_the_figures(tmp_path: Path):
    with watch(tmp_path, log()) as seen:
        seen.evaluation(0, held_out(0))
        seen.iteration(IterationReport(1, {**figures(1), "value_loss": math.nan, "kl": math.inf}))
    evaluation, iteration = read_lines(tmp_path / "metrics.jsonl")
    assert evaluation == {
        "iteration": 0,
        "eval_reward": 0.0,
        "eval_reward_low": -0.1,
        "eval_reward_high": 0.1,
        "eval_gold": 0.5,
        "eval_gold_low": 0.4,
        "eval_gold_high": 0.6,
        "eval_kl": 1.5,
        "eval_length": 40.0,
        "eval_ended": 0.95,
    }
    finite = {key: value for key, value in figures(1).items() if key not in ("value_loss", "kl")}
    assert iteration == {"iteration": 1, **finite}
    shown = events(tmp_path)
    assert shown["training/reward/gym", 1] == pytest.approx(0.1)
    assert shown["held_out/gold_low", 0] == pytest.approx(0.4)
    assert not [tag for tag, _ in shown if tag.endswith(("value_loss", "/kl")) and tag.startswith("training")]


def test_a_kill_leaves_no_line_of_what_is_done_again(tmp_path: Path):
    def some(iteration: int) -> IterationReport:
        return IterationReport(iteration, figures(iteration), [sample(iteration), sample(0.0)])

    settings = SETTINGS.model_copy(update={"sample_every": 2})
    with watch(tmp_path, log(), settings=settings) as seen:
        seen.evaluation(0, held_out(0))
        for iteration in range(1, 7):
            seen.iteration(some(iteration))
            if iteration in (2, 4):
                seen.evaluation(iteration, held_out(iteration))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 7, "rew')
    # The checkpoint of iteration 2 was written before its evaluation, which is therefore made again.
    with watch(tmp_path, log(), begin=2, settings=settings) as seen:
        seen.evaluation(2, held_out(3))
        for iteration in (3, 4):
            seen.iteration(some(iteration))
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["iteration"], "eval_reward" in line) for line in lines] == [
        (0, True),
        (1, False),
        (2, False),
        (2, True),
        (3, False),
        (4, False),
    ]
    assert lines[3]["eval_reward"] == 0.3
    assert [line["iteration"] for line in read_lines(tmp_path / "samples.jsonl")] == [2, 2, 4, 4]
    shown = events(tmp_path)
    assert max(step for _, step in shown) == 4


def test_a_damaged_file_of_metrics_is_named(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1}\nnothing\n')
    with pytest.raises(TrainError, match=r"metrics.jsonl:2: no JSON"):
        watch(tmp_path, log(), begin=1)


def test_a_process_that_follows_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), quiet=True)
    with watch(None, console) as seen:
        with seen.phase("learning", 4) as phase:
            phase.advance()
        seen.iteration(IterationReport(5, figures(5), [sample(1.0)]))
        seen.evaluation(5, held_out(5))
    assert phase.done == 1
    assert written(console) == ""
    assert list(tmp_path.iterdir()) == []


def test_the_curves_hold_what_was_measured(tmp_path: Path):
    lines: list[dict[str, float]] = []
    for iteration in range(1, 13):
        lines.append({"iteration": iteration, **figures(iteration)})
        if iteration % 4 == 0:
            flat = {"eval_reward": 1.0, "eval_reward_low": 0.5, "eval_reward_high": 1.5, "eval_kl": 3.0}
            gold = {"eval_gold": 0.5, "eval_gold_low": 0.4, "eval_gold_high": 0.6}
            lines.append({"iteration": iteration, **flat, **gold})
    draw(lines, tmp_path, "ppo adder", target=6.0)
    picture = (tmp_path / "curves.svg").read_text()
    for label in ("ppo adder", "training", "held out", "gold, held out", "KL from the reference", "target 6"):
        assert f"<!-- {label} -->" in picture
    for label in ("entropy", "clipping", "values", "explained variance", "share that ended", "coefficient"):
        assert f"<!-- {label} -->" in picture
    from matplotlib.image import imread

    pixels = imread(tmp_path / "curves.png")[..., :3]
    coloured = (pixels.max(axis=2) - pixels.min(axis=2)) > 0.2
    rows, columns = coloured.shape
    for row in range(2):
        for column in range(3):
            part = coloured[row * rows // 2 :, column * columns // 3 :][: rows // 2, : columns // 3]
            assert part.mean() > 0.002, (row, column)  # each panel has its curve
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]


def test_the_curves_are_drawn_at_an_evaluation_and_at_the_end(tmp_path: Path, drawn: list[int]):
    with watch(tmp_path, log()) as seen:
        seen.iteration(IterationReport(1, figures(1)))
        assert drawn == []
        seen.evaluation(1, held_out(1))
        assert drawn == [2]
        seen.iteration(IterationReport(2, figures(2)))
    assert drawn == [2, 3]


def test_panels_without_figures_are_left_out(tmp_path: Path):
    """REINFORCE has no values and no clipping; a run of one iteration, nothing held out, is drawn too."""
    kept = {key: value for key, value in figures(1).items() if key in ("reward", "kl", "entropy", "length")}
    draw([{"iteration": 1, **kept}], tmp_path, "ppo adder", target=None)
    picture = (tmp_path / "curves.svg").read_text()
    for label in ("values", "clipping", "held out", "gold"):
        assert f"<!-- {label} -->" not in picture
    assert "<!-- answers -->" in picture


def test_a_run_that_breaks_off_at_once_is_closed(tmp_path: Path, drawn: list[int]):
    with (
        pytest.raises(RuntimeError, match="no engine"),
        watch(tmp_path, log()) as seen,
        seen.phase("starting"),
    ):
        raise RuntimeError("no engine")
    assert drawn == []
    assert read_lines(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("width", [120, 80, 40])
def test_the_bar_fits_every_terminal(width: int):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = Bar("ppo adder", 100, 0, console)
    phase = Phase(128, began=0.0)
    bar.begin("answering", phase)
    assert bar.now() == "answering 128"
    phase.advance(16)
    bar.iteration(12, figures(12))
    screen = Console(file=io.StringIO(), width=width)
    screen.print(bar)
    lines = [line.rstrip() for line in written(screen).splitlines()]
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("ppo adder ━")
    assert "12 of 100" in lines[0]
    if width >= 80:
        assert lines[0].endswith(" left answering 16 of 128")
        assert lines[1] == "reward 1.200  KL 12.00  entropy 1.40  clipped 12%  length 62  1,234 tokens/s"
    else:
        assert lines[1] == "reward 1.200  KL 12.00  entropy 1.40"  # whole figures only


def test_the_time_left_is_told_from_iterations_alone(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now))
    bar = Bar("ppo adder", 8, 4, Console(file=io.StringIO()))
    assert bar.left_text() == ""
    now += 500  # an engine starts, the start is evaluated
    bar.evaluated()
    now += 20
    bar.iteration(5, figures(5))
    assert bar.left() == 60
    now += 10
    assert bar.left_text() == "50 s left"
    now += 30  # twice as long as the one before
    assert bar.left() == 40
    bar.iteration(6, figures(6))
    assert bar.left_text() == "1.0 min left"  # 20 and 40 s make 30 s each
    bar.iteration(8, figures(8))
    assert bar.left() == 0


def test_samples_are_the_best_the_worst_and_those_between():
    ranked = [sample(float(total)) for total in (3, 9, 1, 7, 5, 8, 2)]
    assert [one.total for one in spread(ranked, 3)] == [9, 5, 1]
    assert [one.total for one in spread(ranked[:2], 3)] == [9, 3]
    assert [one.total for one in spread(ranked, 7)] == [9, 8, 7, 5, 3, 2, 1]


def test_samples_are_written_and_printed_every_few_iterations(tmp_path: Path):
    console = log()
    many = [sample(float(total), f"answer {total}", gym=1.0) for total in range(20)]
    with watch(tmp_path, console) as seen:
        for iteration in range(1, 7):
            seen.iteration(IterationReport(iteration, figures(iteration), many))
    lines = read_lines(tmp_path / "samples.jsonl")
    assert {line["iteration"] for line in lines} == {5}
    assert lines[0] == {
        "iteration": 5,
        "source": "p.jsonl:3",
        "prompt": "What is 17 + 25?",
        "answer": "answer 19",
        "ended": True,
        "total": 19.0,
        "parts": {"gym": 1.0},
    }
    assert len(lines) == 8
    said = written(console)
    assert said.count("  answer  ") == 3
    assert "  reward  19.000 (gym 1)\n" in said
    text = events(tmp_path)["answers/text_summary", 5]
    assert isinstance(text, str)
    assert "      answer  answer 0\n" in text


def test_answers_are_cut_to_three_lines_and_move_no_cursor():
    long = "word " * 200
    shown = block(
        [
            sample(1.0, long),
            sample(0.5, "evil \x1b[2J\x07\n\n[bold]text[/bold] 漢字漢字漢字漢字漢字漢字漢字漢字"),
        ],
        40,
    )
    lines = shown.plain.splitlines()
    first = lines[lines.index("  prompt  What is 17 + 25?") + 1 :]
    assert first[0].startswith("  answer  word word")
    assert first[2].endswith("…")
    assert first[3] == "  reward  1.000"
    assert "\x1b" not in shown.plain
    assert "\x07" not in shown.plain
    assert "[bold]text[/bold]" in shown.plain
    screen = Console(file=io.StringIO(), width=40)
    screen.print(shown)
    assert written(screen).count("\n") == len(lines)  # nothing was wrapped again


def test_a_sample_is_made_of_a_rollout():
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    rollout = Rollout(Prompt(messages, (1, 2), {"id": 7}, "p.jsonl:9"), (3,), "Because", False, None)
    made = SampleAnswer.of(rollout, 0.25, {"gym": 1.0, "missing_end": -0.75})
    assert made == SampleAnswer(
        "p.jsonl:9", "Why?", "Because", False, 0.25, {"gym": 1.0, "missing_end": -0.75}
    )
    assert "Because [cut off]" in block([made], 80).plain
    assert json.dumps(made.parts)
