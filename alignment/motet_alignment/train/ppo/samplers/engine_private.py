"""Every reach of the engine sampler into parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. `tests/alignment/train/ppo/samplers/test_engine_private.py` fails when one of them moves.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar, get_args

SEEN_WITH = "0.32.0"

Result = TypeVar("Result")

#: Seconds between two looks at whether the engine lives.
_LOOK = 1.0


class EngineEnded(Exception):
    """The engine's processes are gone."""


def fitting_rank(rank: int) -> int:
    """The smallest `max_lora_rank` of vLLM's that holds adapters of `rank`."""
    from vllm.config.lora import MaxLoRARanks

    return min(allowed for allowed in get_args(MaxLoRARanks) if allowed >= rank)


def watched(llm: Any, call: Callable[[], Result]) -> Result:
    """What `call` returns, which asks the engine for something. Raises EngineEnded if that ends, and what `call` does.

    vLLM's client waits for answers without end; when the system kills the engine (out of memory) nobody gives them.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as problem:  # noqa: BLE001 (raised again where it is waited for)
            outcome.set_exception(problem)

    # A daemon, since it may never return.
    Thread(target=run, name="motet-engine", daemon=True).start()
    from vllm.v1.engine.exceptions import EngineDeadError

    while not wait([outcome], timeout=_LOOK).done:
        if llm.llm_engine.engine_core.resources.engine_dead:
            raise EngineEnded("the engine's processes have ended")
    try:
        return outcome.result()
    except EngineDeadError as problem:
        raise EngineEnded(str(problem)) from problem


def swap_adapter(llm: Any, request: Any, before: int | None) -> None:
    """Has the engine drop the adapter numbered `before` and load `request`, now and not with the first prompt."""
    if before is not None:
        llm.llm_engine.remove_lora(before)
    llm.llm_engine.add_lora(request)


def loaded_adapters(llm: Any) -> set[int]:
    """The numbers of the adapters that the engine holds."""
    return set(llm.llm_engine.list_loras())


def drawn_logprobs(logprobs: Any) -> list[float]:
    """The drawn tokens' log-probabilities out of vLLM's flat account, in which each token's own comes first."""
    return [float(logprobs.logprobs[start]) for start in logprobs.start_indices]


def shut_down(llm: Any) -> None:
    """Ends the engine's processes."""
    llm.llm_engine.engine_core.shutdown()
