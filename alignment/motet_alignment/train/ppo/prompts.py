"""From data files to prompts, in two parts: to learn on, and to be measured on."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motet_alignment.data import Examples, read_examples, render_prompt
from motet_alignment.data.files import Limits, read_rows
from motet_alignment.errors import DataError
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import Prompt
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.samples import counted, held_places, prompt_of


@dataclass(frozen=True)
class Prompts:
    """What is asked in a run, and the story of where it came from."""

    train: list[Prompt]
    #: Asks nothing that `train` asks.
    held_out: list[Prompt]
    #: As the store's manifest lists them.
    files: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """A hash of all that a training sees of them."""
        whole = hashlib.sha256()
        for part in (self.train, self.held_out):
            for prompt in part:
                whole.update(json.dumps([prompt.ids, prompt.row], default=str, sort_keys=True).encode())
            whole.update(b"\0")
        return whole.hexdigest()


def read_prompts(settings: PpoSettings, base: Base) -> Prompts:
    """Reads and renders the prompts of `settings.data`, and holds some out or reads `settings.eval`.

    Files hold prompts, or examples of any other kind, whose answers are left aside. Prompts that are rendered equal
    never stand in both parts. Raises DataError naming file and line: for bad lines, a prompt that leaves no room for an
    answer in the context (with `on_bad="skip"` both are left out and noted), and where nothing is left to train on.
    """
    reader = _Reader(settings, base)
    found = reader.read(settings.data)
    if settings.eval:
        held_out = reader.read(settings.eval, " (evaluation)")
        known = {prompt.ids for prompt in held_out}
        train = [prompt for prompt in found if prompt.ids not in known]
        if leaked := len(found) - len(train):
            reader.notes.append(
                f"{leaked:,} prompts ask what an evaluation prompt asks, and were left out of training"
            )
    else:
        # What would be held out and never asked is better learnt on.
        share = min(settings.held_out, settings.held_out_prompts / max(1, len(found)))
        held = held_places([prompt.ids for prompt in found], share, settings.seed)
        train = [prompt for place, prompt in enumerate(found) if place not in held]
        held_out = [prompt for place, prompt in enumerate(found) if place in held]
        if settings.held_out and not held:
            reader.notes.append("all prompts are the same, so that none could be held out")
    if not train:
        raise DataError(
            f"{settings.data[0]}: no prompt is left to train on; {'; '.join(reader.notes) or 'it is empty'}"
        )
    held_out = _drawn(held_out, settings.held_out_prompts, settings.seed)
    if cut := sum(base.context - len(prompt.ids) < settings.max_answer for prompt in (*train, *held_out)):
        reader.notes.append(
            f"{cut:,} prompts leave less than {settings.max_answer:,} tokens of the context of {base.context:,}: "
            "longer answers to them are cut off"
        )
    return Prompts(train, held_out, reader.files, reader.notes)


class _Reader:
    """Reads files of prompts and keeps what is to be told of them."""

    def __init__(self, settings: PpoSettings, base: Base) -> None:
        self._settings, self._base = settings, base
        self.files: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def read(self, paths: Sequence[Path], said: str = "") -> list[Prompt]:
        skip = self._settings.on_bad == "skip"
        found: list[Prompt] = []
        too_long: list[str] = []
        for path in paths:
            examples = read_examples(path, shape=self._settings.shape, on_bad=self._settings.on_bad)
            if examples.problems:
                self.notes.append(
                    f"{path}: {len(examples.problems):,} bad lines left out, the first: {examples.problems[0]}"
                )
            self.files += [{**file, "path": f"{file['path']}{said}"} for file in counted(examples)]
            for prompt in self._rendered(path, examples):
                if isinstance(prompt, Prompt):
                    found.append(prompt)
                elif skip:
                    too_long.append(str(prompt))
                else:
                    raise prompt
        if too_long:
            self.notes.append(f"{len(too_long):,} prompts left out, the first: {too_long[0]}")
        if not found and not too_long:
            raise DataError(f"{paths[0]}: no prompts in it")
        return found

    def _rendered(self, path: Path, examples: Examples) -> Iterator[Prompt | DataError]:
        # Graders look at columns that no shape has a use for: the row as the file has it goes with the prompt.
        rows = {f"{path}:{line.number}": line.row for line in read_rows(path, Limits())}
        for item in examples.items:
            row = rows.get(item.source)
            if row is None:
                raise DataError(f"{item.source}: the file changed while it was read")
            messages = prompt_of(item)
            try:
                rendered = render_prompt(
                    self._base.tokenizer, messages, context=self._base.context, source=item.source
                )
            except DataError as problem:
                yield problem
                continue
            yield Prompt(messages, tuple(rendered.input_ids), row, item.source)


def _drawn(prompts: list[Prompt], most: int, seed: int) -> list[Prompt]:
    """At most so many of them, in their order."""
    if len(prompts) <= most:
        return prompts
    places = sorted(random.Random(f"held-out prompts {seed}").sample(range(len(prompts)), most))
    return [prompts[place] for place in places]
