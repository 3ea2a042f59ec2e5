"""What each version must say: greedy answers of a plain loop in transformers and PEFT, and how to compare with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet_benchmarks import gym
from motet_benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    import torch

#: Two logits nearer than this may change places by rounding alone: from there on nothing is compared.
DOUBT = 2e-3

#: The fewest tokens of a prompt. A cache of prompts keeps whole blocks, of 128 tokens on a CPU: a shorter prompt would
#: never be found there, nor would what another version has left under its key.
LONG = 160

#: By the adapter's place, None for the base: the answer to every prompt.
Answers = Mapping[int | None, Sequence["Answer"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens of one answer."""

    tokens: tuple[int, ...]
    sure: int
    """So many of them, from the first, are beyond the doubt of rounding."""

    def agrees(self, tokens: Sequence[int]) -> bool:
        """Whether this is the same answer, as far as it is sure and as far as it was asked for."""
        return (
            len(tokens) <= len(self.tokens)
            and tuple(tokens[: self.sure]) == self.tokens[: min(self.sure, len(tokens))]
        )

    def told_from(self, other: Answer) -> bool:
        """Whether no answer agrees with both."""
        shared = min(self.sure, other.sure)
        return self.tokens[:shared] != other.tokens[:shared]


def told_apart(answers: Answers) -> float:
    """The part of all pairs of voices, prompt by prompt, that can be told apart by their answers."""
    pairs = [
        one.told_from(other)
        for first, second in combinations(answers.values(), 2)
        for one, other in zip(first, second, strict=True)
    ]
    return sum(pairs) / len(pairs) if pairs else 1.0


@dataclass(frozen=True)
class Loop:
    """The base in transformers, and what it is asked."""

    model: Any
    tokenizer: Any
    prompts: tuple[tuple[int, ...], ...]
    """As token ids, through the chat template if there is one."""

    def linear(self) -> dict[str, torch.Tensor]:
        """The weights of every linear layer but the head, [out, in], by name."""
        import torch

        head = self.model.get_output_embeddings()
        return {
            name: module.weight
            for name, module in self.model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }

    def answer(self, model: Any, tokens: int) -> list[Answer]:
        """Of `tokens` tokens to every prompt, in one batch."""
        import torch

        padded = self.tokenizer.pad({"input_ids": [list(ids) for ids in self.prompts]}, return_tensors="pt")
        with torch.inference_mode():
            whole = model.generate(
                **padded,
                do_sample=False,
                max_new_tokens=tokens,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        best = torch.stack(whole.logits, dim=1).topk(2, dim=-1)  # [prompts, tokens, 2]
        doubtful = best.values[..., 0] - best.values[..., 1] < DOUBT
        sure = torch.where(doubtful.any(1), doubtful.int().argmax(1), tokens).tolist()
        return [Answer(tuple(ids), at) for ids, at in zip(best.indices[..., 0].tolist(), sure, strict=True)]

    def answers(
        self, folders: Sequence[Path], tokens: int, step: Callable[[], None]
    ) -> dict[int | None, list[Answer]]:
        """Of the base and of the adapter in each folder; `step` is called after each. The base stays as it was."""
        import torch

        threads = torch.get_num_threads()
        # The steps are small: more threads gain little, and on a busy machine they wait for each other for long.
        torch.set_num_threads(max(1, threads // 2))
        try:
            return {None: self.answer(self.model, tokens), **self._voiced(folders, tokens, step)}
        finally:
            torch.set_num_threads(threads)

    def _voiced(
        self, folders: Sequence[Path], tokens: int, step: Callable[[], None]
    ) -> dict[int | None, list[Answer]]:
        from peft import PeftModel

        found: dict[int | None, list[Answer]] = {}
        voiced: Any = None
        for place, folder in enumerate(folders):
            name = f"version{place}"
            if voiced is None:
                voiced = PeftModel.from_pretrained(self.model, str(folder), adapter_name=name)
            else:
                voiced.load_adapter(str(folder), name)
            voiced.set_adapter(name)
            found[place] = self.answer(voiced.eval(), tokens)
            if place:
                voiced.delete_adapter(f"version{place - 1}")
            step()
        return found


def load(folder: str, count: int, tokens: int, seed: int) -> Loop:
    """The base in `folder` in float32 and `count` problems of the gym. Raises BenchmarkError if it can't be loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True)
    except (OSError, ValueError) as problem:
        raise BenchmarkError(
            f"transformers can't load {folder}: {str(problem).strip().splitlines()[0]}"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id or 0
    # Every answer is of the same length, so that the load is steady.
    model.generation_config.eos_token_id = None
    problems = gym.stream("test", seed=seed)
    prompts = tuple(_conversation(tokenizer, problems) for _ in range(count))
    room = getattr(model.config, "max_position_embeddings", None)
    if room is not None and max(map(len, prompts)) + tokens > room:
        raise BenchmarkError(
            f"--tokens {tokens}: with the prompt more than the {room} tokens that {folder} reads"
        )
    return Loop(model.eval(), tokenizer, prompts)


def _conversation(tokenizer: Any, problems: Iterator[gym.Instance]) -> tuple[int, ...]:
    """The token ids of problems with their answers, and of one without, once there are LONG of them."""
    messages: list[dict[str, str]] = []
    for problem in problems:
        if problem.system:
            continue  # stands first or nowhere
        messages += problem.messages()
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        else:
            text = "".join(f"{message['content']}\n" for message in messages)
        ids = tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"]
        if len(ids) >= LONG:
            return tuple(ids)
        messages.append({"role": "assistant", "content": problem.target})
    raise ValueError("the gym has run out of problems")
