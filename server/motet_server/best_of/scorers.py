"""The scorers that one server has, and the one that a request means."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from motet_decoding.best_of import registry
from motet_decoding.best_of.judge import read_judge, read_terms
from motet_decoding.best_of.scorer import Scorer
from motet_decoding.errors import RequestError
from motet_server.adapters.errors import AdapterRequestError, FieldAdapterError
from motet_server.best_of.options import IMPLICIT, PYTHON, REWARD
from motet_server.settings import ServerSettings

if TYPE_CHECKING:
    from motet_server.adapters.entry import Entry
    from motet_server.adapters.leases import Leases
    from motet_server.adapters.service import AdapterService
    from motet_server.reward_models import RewardModels

#: The implicit reward's scale for adapters that weren't trained with one.
_BETA = 0.1


class Scorers:
    """All of one process's.

    Args:
        settings: the server's.
        state: the app's, as vLLM has made it.
        client: vLLM's engine client.
        service: the server's adapters, once they are there.
        models: the reward models beside it.

    Raises:
        LaunchError: a file that held a scorer when the server was started doesn't any more.
    """

    def __init__(
        self,
        settings: ServerSettings,
        state: Any,
        client: Any,
        service: Callable[[], AdapterService | None],
        models: Callable[[], RewardModels],
    ) -> None:
        self._settings = settings
        self._state = state
        self._client = client
        self._service = service
        self._models = models
        self._own = {name: self._start(name, where) for name, where in settings.scorers.items()}

    def rewards(self) -> list[str]:
        """What can give rewards now: adapters by name, then models."""
        return [*self._adapters(rewards=True), *self._models().names()]

    def default_reward(self) -> str | None:
        """What `reward` without a name means, if that can be served now."""
        named, there = self._default_name(), self.rewards()
        if named is not None:
            return named if named.partition("@")[0] in there else None
        return there[0] if len(there) == 1 else None

    async def resolve(self, name: str, field: str, leases: Leases | None, salt: str | None = None) -> Scorer:
        """The scorer of a name; the adapters it takes are kept for the request.

        Args:
            name: as in a request's ``best_of.by``, without a vote around it.
            field: where it stood in the body, for the error.
            leases: the request's.
            salt: the client's, without which nothing of the conversation may be found in the engine's cache.

        Raises:
            RequestError: there is none, or it can't judge now.
        """
        kind, colon, rest = name.partition(":")
        argument = rest if colon else None
        if kind == REWARD:
            return await self._reward(argument, field, leases, salt)
        if kind == IMPLICIT:
            return await self._implicit(argument, field, leases, salt)
        if kind in self._own:
            if argument is not None:
                raise RequestError(field, f"{kind} takes nothing behind a colon")
            return self._own[kind]
        if kind not in registry.installed():
            known = ", ".join(self._names())
            raise RequestError(field, f"there is no scorer {name!r:.80}; this server has {known}")
        return self._registered(kind, argument, field)

    # Somebody's own

    def _start(self, name: str, where: str) -> Scorer:
        from motet_server.best_of.functions import OwnScorer, load_function
        from motet_server.best_of.remote import KEY, RemoteScorer

        timeout = self._settings.scorer_timeout
        if where.startswith(PYTHON):
            return OwnScorer(name, load_function(where.removeprefix(PYTHON), f"--scorer {name}"), timeout)
        return RemoteScorer(name, where, os.environ.get(KEY), timeout, self._decode)

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        from motet_server import rendering_private

        return rendering_private.decoder(self._state)(ids, skip_special_tokens)

    def _registered(self, kind: str, argument: str | None, field: str) -> Scorer:
        from motet_server.best_of.functions import OwnScorer

        try:
            scorer = registry.make(kind, argument)
        except ValueError as error:
            raise RequestError(field, str(error)) from None
        if registry.is_own(kind):
            return scorer
        return OwnScorer(scorer.name, scorer, self._settings.scorer_timeout)

    def _names(self) -> list[str]:
        rewards = [f"{REWARD}:{name}" for name in self.rewards()]
        implicit = [f"{IMPLICIT}:{name}" for name in self._adapters(rewards=False)]
        return [*rewards, *implicit, *sorted(registry.installed()), *self._own, "vote"]

    # What the server makes of what it serves

    async def _reward(self, name: str | None, field: str, leases: Leases | None, salt: str | None) -> Scorer:
        if name is None:
            name = self._default_name() or self._only_reward(field)
        if name in self._models().names():
            from motet_server.best_of.rewards import ModelScorer

            return ModelScorer(name, self._models(), self._decode, salt)
        service, entry = await self._borrow(name, field, leases, rewards=True)

        from motet_server.best_of.rewards import AdapterScorer
        from motet_server.reward_adapter import RewardAdapter

        return AdapterScorer(RewardAdapter.of(entry, service, self._state, self._client), salt)

    async def _implicit(
        self, names: str | None, field: str, leases: Leases | None, salt: str | None
    ) -> Scorer:
        if not names:
            raise RequestError(
                field, "must name an adapter, such as implicit:NAME or implicit:NAME:REFERENCE"
            )
        from motet_decoding.engine.implicit import ImplicitScorer, no_implicit

        if (reason := no_implicit(self._client.vllm_config)) is not None:
            raise RequestError(field, f"{IMPLICIT} isn't available on this server: {reason}")
        name, colon, against = names.partition(":")
        service, entry = await self._borrow(name, field, leases, rewards=False)
        reference, called = None, f"{IMPLICIT}:{entry.reference}"
        if colon:
            _, other = await self._borrow(against, field, leases, rewards=False)
            reference, called = service.requests[other.reference], f"{called}:{other.reference}"

        return ImplicitScorer(
            self._client,
            name=called,
            adapter=service.requests[entry.reference],
            reference=reference,
            beta=beta_of(entry.kind, entry.source.adapter.manifest.settings),
            context=int(self._state.engine_client.model_config.max_model_len),
            salt=salt,
        )

    def _default_name(self) -> str | None:
        by = read_judge(self._settings.best_of_by).scorer
        for term in () if by is None else read_terms(by):
            kind, _, name = term.name.partition(":")
            if kind == REWARD:
                return name or None
        return None

    def _only_reward(self, field: str) -> str:
        there = self.rewards()
        if len(there) == 1:
            return there[0]
        if not there:
            raise RequestError(
                field,
                "this server has no reward adapter and no reward model; name another scorer, such as likelihood, "
                "publish a reward adapter, or start it with --reward NAME=MODEL",
            )
        named = ", ".join(f"{REWARD}:{name}" for name in there)
        raise RequestError(field, f"there are several rewards; name one of {named}")

    def _adapters(self, *, rewards: bool) -> list[str]:
        service = self._service()
        names = [] if service is None else service.shelf.names()
        return [name for name in names if service is not None and _serves(service, name, rewards)]

    async def _borrow(
        self, name: str, field: str, leases: Leases | None, *, rewards: bool
    ) -> tuple[AdapterService, Entry]:
        """An adapter of the kind that is wanted, kept loaded for the request."""
        from motet_server import vllm_private

        service, others = self._service(), self._models().names()
        does, wants = ("writes text", "gives no rewards") if rewards else ("gives rewards", "writes no text")
        if name in vllm_private.served_names(self._state):
            raise RequestError(field, f"{name} is the model itself, which is no judge")
        if name in others:
            raise RequestError(field, f"{name} {does} and {wants}")
        if service is None or leases is None or not service.shelf.knows(name):
            there = ", ".join(self.rewards() if rewards else self._adapters(rewards=False))
            sort = "reward adapter or reward model" if rewards else "adapter that writes text"
            raise RequestError(field, f"there is no {sort} {name!r:.80}; this server has {there or 'none'}")
        try:
            if (service.shelf.find(name).kind == "reward") != rewards:
                raise RequestError(field, f"{name} {does} and {wants}")
            return service, await leases.borrow(name)
        except AdapterRequestError as error:
            raise FieldAdapterError(field, error) from None


def beta_of(kind: str, settings: Mapping[str, Any]) -> float:
    """What an adapter's implicit reward is scaled by: what it was trained with, where that is known."""
    beta = settings.get("beta") if kind == "dpo" else None
    if isinstance(beta, (int, float)) and not isinstance(beta, bool) and math.isfinite(beta) and beta > 0:
        return float(beta)
    return _BETA


def _serves(service: AdapterService, name: str, rewards: bool) -> bool:
    entry = service.shelf.current_entry(name)
    return entry is not None and entry.reason is None and (entry.kind == "reward") == rewards
