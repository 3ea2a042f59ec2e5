"""What is said at the end of a training."""

from __future__ import annotations

import json
import shlex

from motet_alignment.train.estimates import Estimate
from motet_alignment.train.session import Trained
from motet_alignment.train.settings import TrainSettings
from motet_models import EXPERT

# Families and the like are in the metrics; here the figures that fit on a screen.
_SHOWN = 12


def report(settings: TrainSettings, trained: Trained) -> str:
    """The adapter, its metrics with intervals, where things are, and what to type next."""
    lines = []
    if trained.adapter is not None:
        current = "current" if settings.promote else "not promoted"
        lines.append(f"adapter   {trained.adapter.reference} ({current}), in {trained.adapter.path}")
    else:
        lines.append(f"adapter   not published, in {trained.folder / 'adapter'}")
    measured = [(name, value) for name, value in trained.metrics.items() if isinstance(value, Estimate)]
    for name, value in measured[:_SHOWN]:
        lines.append(f"{name.replace('_', ' '):24}{value.text(percent='loss' not in name)}")
    if len(measured) > _SHOWN:
        lines.append(f"and {len(measured) - _SHOWN} more figures in {trained.folder / 'result.json'}")
    lines.append(f"plot      {trained.folder / 'loss.png'}; lines in {trained.folder / 'metrics.jsonl'}")
    lines += ["next", *(f"  {line}" for line in _next(settings, trained))]
    return "\n".join(lines)


def _next(settings: TrainSettings, trained: Trained) -> list[str]:
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
