"""The seam through which a trained policy is measured on tasks, and the generation it is measured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

from motet_alignment.data import Message, render
from motet_alignment.errors import TrainError
from motet_alignment.train.estimates import Estimate

#: Entry points of this group are called without arguments and give an Evaluation.
GROUP = "motet.evaluations"

Generate = Callable[[Sequence[Sequence[Message]]], list[str]]


class Evaluation(Protocol):
    """Asks a model something and grades its answers."""

    def evaluate(self, generate: Generate) -> Mapping[str, Estimate]:
        """Named figures with 95% intervals; `generate` answers each of a list of conversations, greedily."""
        ...


def find_evaluation(name: str) -> Evaluation:
    """The installed evaluation of that name. Raises TrainError naming those there are."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise TrainError(
            f"--evaluate {name}: there is no such evaluation; installed: {', '.join(sorted(found))}"
        )
    evaluation: Evaluation = found[name].load()()
    return evaluation


def greedy(
    model: Any, tokenizer: Any, context: int, *, batch_tokens: int = 8192, most: int = 256
) -> Generate:
    """Greedy answers of `model` (transformers or PEFT), many at a time, sorted by length to waste little padding.

    An answer ends at the tokenizer's or the model's end token, after `most` tokens, or where the context is full; of
    a prompt that leaves no room for an answer (of `most` tokens, or half of a short context) the oldest turns are
    dropped. `batch_tokens`: prompts' and answers' tokens at once.
    """
    import torch

    endings = model.generation_config.eos_token_id
    endings = set(endings if isinstance(endings, list) else [endings]) | {tokenizer.eos_token_id}
    stops = sorted(token for token in endings if token is not None)

    def generate(conversations: Sequence[Sequence[Message]]) -> list[str]:
        room = max(context - most, context // 2, 1)
        prompts = [
            render(tokenizer, conversation, context=room, generation_prompt=True).input_ids
            for conversation in conversations
        ]
        answers = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        while order:
            width = len(prompts[order[0]])
            count = max(1, batch_tokens // (width + most))
            batch, order = order[:count], order[count:]
            ids = [
                [tokenizer.pad_token_id] * (width - len(prompts[place])) + prompts[place] for place in batch
            ]
            mask = [[0] * (width - len(prompts[place])) + [1] * len(prompts[place]) for place in batch]
            with torch.no_grad():
                said = model.generate(
                    input_ids=torch.tensor(ids, device=model.device),
                    attention_mask=torch.tensor(mask, device=model.device),
                    max_new_tokens=min(most, context - width),
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    eos_token_id=stops or None,
                    pad_token_id=tokenizer.pad_token_id,
                )
            for place, row in zip(batch, said[:, width:].tolist(), strict=True):
                answers[place] = tokenizer.decode(row, skip_special_tokens=True)
        return answers

    return generate
