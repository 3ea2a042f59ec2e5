"""What is said at the end of a training."""

from __future__ import annotations

import json
import shlex
from typing import cast

from motet_alignment.train.estimates import Estimate
from motet_alignment.train.record import seconds_text
from motet_alignment.train.session import Trained
from motet_alignment.train.settings import AdapterSettings
from motet_models import EXPERT

# Families and the like are in the metrics; here the figures that fit on a screen.
_SHOWN = 12
# What rewards and gold are measured in is their own affair.
_ON_NO_SCALE = {f"{part}_{name}" for part in ("start", "best", "gain") for name in ("reward", "gold")}


def report(settings: AdapterSettings, trained: Trained) -> str:
    """The adapter, its metrics with intervals, where things are, and what to type next."""
    lines = []
    if trained.adapter is not None:
        current = "current" if settings.promote else "not promoted"
        lines.append(f"adapter   {trained.adapter.reference} ({current}), in {trained.adapter.path}")
    elif _nothing_better(trained):
        lines.append("adapter   not published: no version was better than the start")
    else:
        lines.append(f"adapter   not published, in {trained.folder / 'adapter'}")
    learns_from_rewards = settings.kind() == "ppo"
    if learns_from_rewards:
        lines += _course(trained)
    measured = [(name, value) for name, value in trained.metrics.items() if isinstance(value, Estimate)]
    for name, value in measured[:_SHOWN]:
        percent = "loss" not in name and name not in _ON_NO_SCALE
        lines.append(f"{name.replace('_', ' '):24}{value.text(percent=percent)}")
    if len(measured) > _SHOWN:
        lines.append(f"and {len(measured) - _SHOWN} more figures in {trained.folder / 'result.json'}")
    plot = trained.folder / ("curves.png" if learns_from_rewards else "loss.png")
    lines.append(f"plot      {plot}; lines in {trained.folder / 'metrics.jsonl'}")
    if learns_from_rewards:
        lines.append(f"answers   {trained.folder / 'samples.jsonl'}")
    lines += ["next", *(f"  {line}" for line in _next(settings, trained))]
    return "\n".join(lines)


def _nothing_better(trained: Trained) -> bool:
    """Whether a run that looked for the best version ended up with the one it began with."""
    return trained.metrics.get("best_iteration") == 0


def _course(trained: Trained) -> list[str]:
    """Which version was taken, of how many, and why there were no more."""
    metrics = trained.metrics
    compared = "best_reward" in metrics
    of = f"iteration {metrics['best_iteration']:,} of {metrics['iterations']:,}"
    away = f", {metrics['kl']:.2f} nats an answer from the reference" if "kl" in metrics else ""
    lines = [f"{'best' if compared else 'last':10}{of}{away}"]
    lines.append(f"ended     {metrics['stopped']}, after {seconds_text(cast(float, metrics['seconds']))}")
    if compared and not _nothing_better(trained):
        lines.append(
            "the best version was chosen by the prompts it is measured on here, which flatters it a little:"
        )
    return lines


def _next(settings: AdapterSettings, trained: Trained) -> list[str]:
    if _nothing_better(trained):
        return [
            "look at the curves, then try more --iterations, another --learning-rate or a lower --kl-coefficient"
        ]
    if trained.adapter is None:
        words = ["motet", "adapters", "add", str(trained.folder / "adapter"), "--name", settings.adapter_name]
        return [shlex.join([*words, "--kind", settings.kind(), "--base", settings.model or str(EXPERT)])]
    name = trained.adapter.name if settings.promote else trained.adapter.reference
    question = {"role": "user", "content": "What is 17 + 25?"}
    if settings.kind() == "reward":
        answer = {"role": "assistant", "content": "42"}
        path = "rewards"
        body: dict[str, object] = {"model": name, "conversations": [[question, answer]]}
    else:
        path, body = "chat/completions", {"model": name, "messages": [question]}
    store = [] if settings.store is None else ["--adapters", str(settings.store)]
    serve = shlex.join(["motet", "serve", *([settings.model] if settings.model else []), *store])
    return [
        f"{serve}        # unless it runs already: a running server has loaded the adapter by now",
        f"curl http://127.0.0.1:8000/v1/{path} -H 'Content-Type: application/json' -d '{json.dumps(body)}'",
    ]
