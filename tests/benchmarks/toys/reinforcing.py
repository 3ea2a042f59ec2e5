"""A trainer that only pretends, for the recipe of PPO and its judge: what it does, and what its adapters say."""

from __future__ import annotations

import json
import shutil

from safetensors.torch import load_file, save_file
from torch import full_like
from typer.testing import CliRunner

from motet_alignment.store import AdapterStore, find_base, fingerprint
from motet_alignment.train.session import Trained
from motet_benchmarks.toys import cli
from motet_benchmarks.toys.ppo import GRADER, JUDGE, PPO

#: What all weights of a pretended policy are, so that it can be told.
MARKS = {PPO: 0.5, GRADER: 0.25}
HEAD = "base_model.model.score.weight"


class Trainer:
    """Nudges the adapter that it is to start from, and tells of iterations that never were.

    A judge is the reward adapter with every score's sign turned.
    """

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __call__(self, settings):
        self.asked.append(settings)
        store = AdapterStore(settings.store)
        start = store.get(settings.start)
        settings.folder.mkdir()
        weights = load_file(start.path / "adapter_model.safetensors")
        home = settings.folder / "adapter"
        shutil.copytree(start.path, home, ignore=shutil.ignore_patterns("motet.json", "engine"))
        if settings.name == JUDGE:
            save_file({**weights, HEAD: -weights[HEAD]}, home / "adapter_model.safetensors")
            return Trained(self._published(settings, store, home, start), settings.folder, {})
        moved = {name: full_like(weight, MARKS[settings.name]) for name, weight in weights.items()}
        save_file(moved, home / "adapter_model.safetensors")
        lines = []
        for number in range(1, settings.iterations + 1):
            lines.append(
                {
                    "iteration": number,
                    "reward": 0.1 * number,
                    "kl": 0.2 * number,
                    "entropy": 1.0,
                    "length": 9.0,
                }
            )
            if number % 5 == 0:
                figures = {
                    f"{name}{end}": 0.02 * number + by
                    for name in ("eval_reward", "eval_gold")
                    for end, by in (("", 0), ("_low", -0.01), ("_high", 0.01))
                }
                lines.append({"iteration": number, **figures})
        (settings.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        # As the trainer writes it into a manifest.
        judges = [spec.removeprefix("adapter:") for spec in settings.reward if spec != "gym"]
        told = {"reward": list(settings.reward), "reward_adapters": judges}
        adapter = self._published(settings, store, home, start, **told)
        return Trained(adapter, settings.folder, {"best_iteration": 15, "seconds": 90.0})

    def _published(self, settings, store, home, start, **told):
        return store.publish(
            home,
            name=settings.name,
            kind=settings.kind(),
            base=fingerprint(settings.model),
            base_folder=find_base(settings.model),
            parents=(start.reference,),
            data=[{"path": str(path), "sha256": "0" * 64, "examples": 24} for path in settings.data],
            settings={"from": settings.start, "seed": settings.seed, **told},
        )


def spoken(problems, tokenizer, model, **more):
    """Every third answer of SFT is right, every other one of PPO against the judge, all against the grader.

    What is drawn is the last mistake that a problem has, and by seed right elsewhere; the best tokens are the first.
    """
    if (seed := more.get("seed")) is not None:
        return [
            problem.target if (place + seed) % 3 == 0 else problem.mistaken(problem.mistakes[-1])
            for place, problem in enumerate(problems)
        ]
    weight = next(value for name, value in model.named_parameters() if "lora_A" in name)
    every = {0.5: 2, 0.25: 1}.get(float(weight.mean()), 3)
    return [
        problem.target if place % every == 0 else problem.mistaken(problem.mistakes[0])
        for place, problem in enumerate(problems)
    ]


def run(*options: object):
    return CliRunner().invoke(cli.app, ["ppo", "--count", "1", *map(str, options)])


def policies(trainer):
    return [settings for settings in trainer.asked if settings.name != JUDGE]


def judges(trainer):
    return [settings for settings in trainer.asked if settings.name == JUDGE]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
