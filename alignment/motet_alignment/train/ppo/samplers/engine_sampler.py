"""Answers by a vLLM engine of the training's own, which takes each version of the policy as a LoRA."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from motet_alignment.errors import TrainError
from motet_alignment.train.devices import Place
from motet_alignment.train.models import Base, first_line
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout
from motet_alignment.train.ppo.samplers import engine_private
from motet_alignment.train.ppo.samplers.answers import end_tokens, rollout, room
from motet_alignment.train.ppo.settings import PpoSettings

#: What vLLM and its processes read from the environment, where the user hasn't set it.
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore::FutureWarning,ignore::UserWarning",
    # A forked child of a process whose threads have multiplied matrices can hang at its first product.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # A training that is killed leaves no engine behind (motet's plugin to vLLM reads this).
    "MOTET_ENDS_WITH_PARENT": "1",
}
_CPU_ENVIRONMENT = {
    # In GiB; by itself vLLM would take most of the machine's memory for its cache.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # oneDNN keeps prepared weights for every number of rows it has met; so few cost no speed.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
}
#: vLLM's own worker ends the engine when a seeded request's prompt is read in several steps; named and not imported,
#: since vLLM imports it in the process that needs it.
CPU_WORKER = "motet_decoding.engine.cpu_worker.CPUWorker"


class EngineSampler:
    """A `Sampler` on vLLM, in processes of its own on this machine.

    Log-probabilities are those of the distribution that was drawn from, the temperature's; a greedy answer has none.
    On a GPU the engine takes `settings.engine_memory` of its memory, and gives it back by `rest`; vLLM can't on a CPU,
    where that gives nothing back.
    """

    def __init__(self, settings: PpoSettings, base: Base, place: Place) -> None:
        """Starts the engine. Raises TrainError with vLLM's reason."""
        if place.processes > 1:
            raise TrainError(
                f"--rollouts engine: {place.processes} training processes would each start an engine; give the --url "
                "of a running server (vLLM spreads that over GPUs), or --rollouts transformers"
            )
        self._settings = settings
        self._base = base
        self._ends = end_tokens(base)
        self._gpu = place.device == "cuda"
        self._resting = False
        self._adapter: Any = None
        self._llm = self._start(place)

    def _start(self, place: Place) -> Any:
        for name, value in {**_ENVIRONMENT, **({} if self._gpu else _CPU_ENVIRONMENT)}.items():
            os.environ.setdefault(name, value)
        # vLLM sets its level by the same variable, but only after the first of what it says while it is imported.
        logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())
        self._make_room()
        start = self._base.start
        options: dict[str, Any] = {
            "model": str(self._base.folder),
            "skip_tokenizer_init": True,
            "max_model_len": self._base.context,
            "dtype": "bfloat16" if self._gpu and place.precision == "bf16" else "float32",
            "seed": self._settings.seed,
            "enable_lora": True,
            "max_loras": 1,
            "max_cpu_loras": 1,
            # What was drawn from: vLLM's own choice is the distribution before the temperature.
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",
            "use_tqdm_on_load": False,
        }
        if self._gpu:
            options |= {
                "gpu_memory_utilization": self._settings.engine_memory,
                "enable_sleep_mode": True,
            }
        else:
            options |= {"enforce_eager": True, "worker_cls": CPU_WORKER}
        rank = self._settings.rank if start is None else start.manifest.rank
        try:
            with warnings.catch_warnings(action="ignore"):
                from vllm import LLM
            return LLM(**options, max_lora_rank=engine_private.fitting_rank(rank))
        except ImportError as problem:
            raise TrainError(
                f"--rollouts engine: vLLM can't be imported ({first_line(problem)}); install it, or take --rollouts "
                "transformers"
            ) from problem
        except Exception as problem:
            reason = (
                problem.errors()[0]["msg"] if isinstance(problem, ValidationError) else first_line(problem)
            )
            raise TrainError(
                f"--rollouts engine: the engine doesn't start: {reason} (VLLM_LOGGING_LEVEL=INFO shows its log)"
            ) from problem

    def follow(self, policy: PolicyFiles) -> None:
        """Loads the version and drops the one before. Raises TrainError where the engine doesn't take it."""
        from vllm.lora.request import LoRARequest

        before = None if self._adapter is None else self._adapter.lora_int_id
        # A fresh number and name each time: the engine's caches know an adapter by them.
        number = 1 if before is None else before + 1
        adapter = LoRARequest(f"policy-{policy.number}-{number}", number, str(policy.folder))
        self._wake()
        try:
            self._ask(lambda: engine_private.swap_adapter(self._llm, adapter, before))
        except TrainError:
            raise
        except Exception as problem:
            raise TrainError(
                f"the engine doesn't take the policy of iteration {policy.number} ({policy.folder}): "
                f"{first_line(problem)}"
            ) from problem
        self._adapter = adapter

    def sample(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, greedy: bool = False
    ) -> list[Rollout]:
        """One answer to each prompt by the version followed. Raises TrainError where the engine has ended."""
        from vllm import SamplingParams

        if self._adapter is None:
            raise TrainError("the engine follows no policy yet")
        self._wake()
        asked = [
            SamplingParams(
                temperature=0.0 if greedy else self._settings.temperature,
                top_p=1.0,
                top_k=0,
                seed=None if greedy else seed,
                max_tokens=room(prompt, self._base, self._settings.max_answer),
                stop_token_ids=list(self._ends),
                ignore_eos=True,  # the ends above are all there are
                logprobs=None if greedy else 0,  # the drawn token's alone
                flat_logprobs=True,
                detokenize=False,
            )
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        outputs = self._ask(
            lambda: self._outputs([{"prompt_token_ids": list(prompt.ids)} for prompt in prompts], asked)
        )
        return [
            rollout(
                prompt,
                output.outputs[0].token_ids,
                self._base,
                self._ends,
                None if greedy else engine_private.drawn_logprobs(output.outputs[0].logprobs),
            )
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def _outputs(self, prompts: list[Any], asked: list[Any]) -> list[Any]:
        # What was cached before, and how far the engine would get while requests still come, would decide which
        # rows are computed together, and so the last bits of their logits: the same call gives the same answers.
        self._llm.reset_prefix_cache()
        self._llm.sleep(level=0)
        self._llm.enqueue(prompts, asked, lora_request=self._adapter, use_tqdm=False)
        self._llm.wake_up(tags=["scheduling"])
        outputs: list[Any] = self._llm.wait_for_completion(use_tqdm=False)
        return outputs

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return engine_private.watched(self._llm, call)
        except engine_private.EngineEnded as problem:
            raise TrainError(
                "the engine that answers has ended (out of memory?); the same command goes on from the last "
                "checkpoint, VLLM_LOGGING_LEVEL=INFO shows its log"
            ) from problem

    def rest(self) -> None:
        """Moves the engine's weights to the host's memory and drops its caches; on a CPU, nothing."""
        if self._gpu and not self._resting:
            self._ask(lambda: self._llm.sleep(level=1))
            self._resting = True

    def _make_room(self) -> None:
        """Memory that training no longer uses but its allocator keeps, an engine beside it can't have."""
        if self._gpu:
            import torch

            torch.cuda.empty_cache()

    def _wake(self) -> None:
        if self._resting:
            self._make_room()
            try:
                self._ask(self._llm.wake_up)
            except TrainError:
                raise
            except Exception as problem:
                raise TrainError(
                    f"the engine doesn't wake beside the training: {first_line(problem)}; a lower --engine-memory or "
                    "--batch-tokens leaves it room"
                ) from problem
            self._resting = False

    def close(self) -> None:
        """Ends the engine and its processes."""
        engine_private.shut_down(self._llm)
