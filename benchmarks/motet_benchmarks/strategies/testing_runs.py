"""Made-up runs, of which it is known what a report must say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motet_benchmarks.strategies.records import RUN_FILE, SAMPLES_FILE, Run, Sample, Strategy, TaskRecord

FAMILIES = ("adding", "sorting", "spelling")

_VOCABULARY = (
    "the sum is first then carry one and add two to get answer of list sorted word letter count so final result "
    "seven nine eleven forty twelve check again because"
).split()


def strategies() -> list[tuple[Strategy, float]]:
    """Strategies with a sweep of either kind, and how much more likely than plain each is right."""
    found = [
        (Strategy(name="plain", sampling={"temperature": 0}), 0.0),
        (Strategy(name="same", sampling={"temperature": 0.01}), 0.0),
        (Strategy(name="worse", sampling={"temperature": 2}), -0.4),
        (Strategy(name="better", model="motet-sft"), 0.3),
        (Strategy(name="refused", contrast={"voice": "nobody"}), 0.0),
    ]
    for n, gain in ((1, 0.0), (4, 0.1), (16, 0.2)):
        best = Strategy(name=f"best-of-{n}", best_of={"n": n}, sweep="best-of", point={"n": n})
        found.append((best, gain))
    for strength in (0.25, 0.5, 1):
        for plausibility in (0, 0.1):
            point = {"strength": strength, "plausibility": plausibility}
            name = f"contrast {strength:g}, {plausibility:g}"
            each = Strategy(name=name, contrast=point, sweep="contrast", point=point)
            found.append((each, 0.2 - 0.3 * abs(strength - 0.5) + plausibility))
    return found


def make_run(
    *,
    skills: Sequence[tuple[Strategy, float]] | None = None,
    problems: int = 60,
    draws: int = 1,
    seed: int = 0,
    luck: int = 0,
    graded: bool = True,
    judge: str | None = "motet-reward",
    streamed: bool = True,
    tasks: tuple[str, ...] = ("gym",),
) -> tuple[Run, list[Sample]]:
    """A run and its samples.

    Args:
        skills: strategies and the share of problems that each answers right beyond 45%; those of `strategies` unless
            given. A strategy named refused is refused.
        problems: of each task.
        draws: of each problem by strategies that aren't greedy.
        seed: of the problems, and the run's.
        luck: of the answers.
        graded, judge, streamed: whether samples carry scores, rewards and times of tokens.
        tasks: their names.
    """
    import numpy as np

    skills = strategies() if skills is None else skills
    hardness = {
        task: np.random.default_rng([seed, place]).random(problems) for place, task in enumerate(tasks)
    }
    rng = np.random.default_rng([seed, luck, 1])
    run = Run(
        command="motet bench strategies --tasks gym",
        circumstances={"cpu": "a made-up machine", "date": "2026-01-01 00:00 UTC"},
        url="http://127.0.0.1:1/v1",
        model="motet-base",
        strategies=tuple(each for each, _ in skills),
        tasks=tuple(
            TaskRecord(name=task, metric="accuracy", problems=problems, digest=f"{task} {problems} {seed}")
            for task in tasks
        ),
        draws=draws,
        seed=seed,
        judge=judge,
        refused={each.name: "no such voice: nobody" for each, _ in skills if each.name == "refused"},
    )
    samples = []
    for strategy, gain in skills:
        if strategy.name in run.refused:
            continue
        for task in tasks:
            for problem in range(problems):
                for draw in range(run.draws_of(strategy)):
                    right = bool(hardness[task][problem] + 0.1 * rng.standard_normal() < 0.45 + gain)
                    samples.append(
                        _sample(
                            rng, strategy, task, problem, draw, right, graded, judge is not None, streamed
                        )
                    )
    return run, samples


def write_run(folder: Path, run: Run, samples: list[Sample]) -> Path:
    """Leave both in `folder`, as a run does, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN_FILE).write_text(json.dumps(run.model_dump(mode="json"), indent=1), encoding="utf-8")
    lines = "".join(sample.model_dump_json() + "\n" for sample in samples)
    (folder / SAMPLES_FILE).write_text(lines, encoding="utf-8")
    return folder


def _sample(
    rng: Any,
    strategy: Strategy,
    task: str,
    problem: int,
    draw: int,
    right: bool,
    graded: bool,
    judged: bool,
    streamed: bool,
) -> Sample:
    words = " ".join(_VOCABULARY[place] for place in rng.integers(len(_VOCABULARY), size=rng.integers(4, 30)))
    answer = problem + 10 if right else problem + 11
    count, prompt = len(words.split()) + 1, 20 + problem % 7
    n = int(strategy.point.get("n", 1))
    voices = 2 if strategy.contrast else 1
    per_token = float(rng.gamma(9, 0.002)) * voices
    first_token = float(rng.gamma(4, 0.01)) * (1 + 0.1 * n)
    return Sample(
        strategy=strategy.name,
        task=task,
        problem=f"{task}-{problem}",
        family=FAMILIES[problem % len(FAMILIES)],
        draw=draw,
        prompt=f"What is {problem} and 10 more?",
        reference=str(problem + 10),
        text=f"{words} {answer}",
        score=float(right) if graded else None,
        reward=float(rng.normal(1.5 if right else 0, 1)) if judged else None,
        declined=bool(rng.random() < 0.02),
        prompt_tokens=prompt,
        answer_tokens=count,
        generated=count * n,
        scored=(count + prompt) * n if n > 1 else 0,
        forwards=(prompt + count * n) * voices,
        seconds=first_token + per_token * (count - 1),
        first_token=first_token if streamed else None,
        per_token=per_token if streamed and count > 1 else None,
        finish="length" if count >= 30 else "stop",
    )
