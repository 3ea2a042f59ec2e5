"""Answers by a running motet server, wherever it is, which is given each version of the policy over HTTP."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from motet_alignment.errors import TrainError
from motet_alignment.train.devices import Place
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout
from motet_alignment.train.ppo.samplers.answers import end_tokens, rollout, room
from motet_alignment.train.ppo.samplers.server_client import ServerClient, run_apart
from motet_alignment.train.ppo.settings import PpoSettings

_LOG = logging.getLogger(__name__)

#: Requests under way at once, of one training process.
_CONNECTIONS = 256
#: The longest name of an adapter, 64, less what is put behind it.
_NAME = 64 - len("-rollouts-00000000")


class ServerSampler:
    """A `Sampler` on a motet server.

    Versions are published under a name of the run's own, which is gone from the server's store after `close`, whatever
    went wrong before. With several training processes the first one publishes for all. Log-probabilities are those of
    the distribution that was drawn from; a greedy answer has none. Which requests share a step of the server, and so
    the last bits of their figures, is a matter of when they arrive: a run with a server can't be repeated bit by bit.
    """

    def __init__(self, settings: PpoSettings, base: Base, place: Place) -> None:
        """Sees that the server is there. Raises TrainError."""
        self._settings = settings
        self._base = base
        self._place = place
        self._ends = end_tokens(base)
        self._name = f"{settings.adapter_name[:_NAME]}-rollouts-{secrets.token_hex(4)}"
        self._reference: str | None = None
        self._published = False
        self._trusted = settings.temperature == 1.0
        self._server = ServerClient(settings)
        self._server.look()

    def follow(self, policy: PolicyFiles) -> None:
        """Publishes the version and removes the one before. Raises TrainError where the server doesn't take it."""
        before = self._reference
        reference = self._led(policy)
        self._reference = reference
        if before is not None and before != reference and self._place.leads:
            self._server.remove(before)

    def _led(self, policy: PolicyFiles) -> str:
        """The version's name on the server, from the process that publishes it."""
        # Also where it fails: the server may have stored what it couldn't load, or answered nobody.
        self._published = self._place.leads
        if self._place.processes == 1:
            return self._server.publish(policy.folder, self._name, self._base.fingerprint)
        from accelerate.utils import broadcast_object_list

        told: list[Any] = [None, None]
        if self._place.leads:
            try:
                told[0] = self._server.publish(policy.folder, self._name, self._base.fingerprint)
            except TrainError as problem:
                told[1] = str(problem)
        # The others wait here, so they must hear of a failure too.
        reference, failure = broadcast_object_list(told, from_process=0)
        if failure is not None:
            raise TrainError(failure)
        return str(reference)

    def sample(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, greedy: bool = False
    ) -> list[Rollout]:
        """One answer to each prompt by the version followed. Raises TrainError."""
        if self._reference is None:
            raise TrainError("the server follows no policy yet")
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds")
        with self._server.failures():
            return run_apart(lambda: self._answers(prompts, seeds, greedy))

    async def _answers(self, prompts: Sequence[Prompt], seeds: Sequence[int], greedy: bool) -> list[Rollout]:
        free = asyncio.Semaphore(_CONNECTIONS)

        async def answer(prompt: Prompt, seed: int) -> Rollout:
            async with free:
                return await self._answer(client, prompt, seed, greedy)

        async with self._server.asynchronous() as client:
            if prompts and not greedy and not self._trusted:
                await self._check_logprobs(client, prompts[0])
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(answer(*asked)) for asked in zip(prompts, seeds, strict=True)]
            except BaseExceptionGroup as problems:
                # The others were cancelled for the first one's sake.
                raise problems.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _answer(self, client: AsyncOpenAI, prompt: Prompt, seed: int, greedy: bool) -> Rollout:
        temperature = 0.0 if greedy else self._settings.temperature
        most = room(prompt, self._base, self._settings.max_answer)
        choice = await self._complete(client, prompt, most, temperature, seed, logprobs=None if greedy else 0)
        ids, told = (choice.model_extra or {}).get("token_ids"), choice.logprobs
        if not ids or (not greedy and (told is None or len(told.token_logprobs) != len(ids))):
            raise self._server.trouble("it doesn't tell its answers' tokens and their log-probabilities")
        return rollout(prompt, ids, self._base, self._ends, None if greedy else told.token_logprobs)

    async def _complete(
        self,
        client: AsyncOpenAI,
        prompt: Prompt,
        most: int,
        temperature: float,
        seed: int,
        *,
        logprobs: int | None,
    ) -> Any:
        """One choice of the version followed; with `logprobs` 0 the drawn tokens' own and no others."""
        answer: Any = await client.completions.create(
            model=str(self._reference),
            prompt=list(prompt.ids),
            max_tokens=most,
            temperature=temperature,
            top_p=1.0,
            seed=seed,
            logprobs=logprobs,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            extra_body={
                # Where they are left out a server goes by the model's generation settings.
                "top_k": 0,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "stop_token_ids": list(self._ends),
                "ignore_eos": True,  # the ends above are all there are
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
            },
        )
        version = ((getattr(answer, "model_extra", None) or {}).get("motet") or {}).get("adapter")
        if version != self._reference:
            raise self._server.trouble(f"{self._reference} was asked and {version} answered")
        return answer.choices[0]

    async def _check_logprobs(self, client: AsyncOpenAI, prompt: Prompt) -> None:
        """Sees that the server tells log-probabilities at the temperature; its start decides that.

        A temperature T divides the distance between any two tokens' by T.
        """

        async def distance(temperature: float) -> float:
            choice = await self._complete(client, prompt, 1, temperature, 0, logprobs=2)
            if choice.logprobs is None or not choice.logprobs.top_logprobs:
                raise self._server.trouble("it doesn't tell log-probabilities")
            first, second = sorted(choice.logprobs.top_logprobs[0].values(), reverse=True)[:2]
            return float(first - second)

        plain, tempered = await distance(1.0), await distance(self._settings.temperature)
        if abs(tempered - plain) < abs(tempered - plain / self._settings.temperature):
            raise self._server.trouble(
                "it tells log-probabilities at temperature 1; start it with --logprobs-mode processed_logprobs, or "
                "leave out --temperature"
            )
        self._trusted = True

    def rest(self) -> None:
        """Nothing: the server's memory isn't ours."""

    def close(self) -> None:
        """Removes the run's versions from the server; what can't be removed is told in the log."""
        if self._published:
            try:
                self._server.clear(self._name)
            except TrainError as problem:
                _LOG.warning("%s stays on the server: %s", self._name, problem)
        self._published, self._reference = False, None
        self._server.close()
