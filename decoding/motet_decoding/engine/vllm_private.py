"""Every reach of the decoding room into parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/decoding/test_vllm_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn
    from vllm.config import ModelConfig, VllmConfig


def architectures() -> Iterable[str]:
    """The architectures that vLLM can serve."""
    from vllm import ModelRegistry

    return ModelRegistry.get_supported_archs()


def register_architecture(name: str, like: str, location: str) -> None:
    """Registers ``location`` (``module:Class``) as ``name``, with the configuration checks vLLM makes for ``like``."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    ModelRegistry.register_model(name, location)
    if like in MODELS_CONFIG_MAP:
        MODELS_CONFIG_MAP[name] = MODELS_CONFIG_MAP[like]


def architecture_class(name: str) -> type[nn.Module]:
    """vLLM's class for the architecture ``name``."""
    from vllm import ModelRegistry

    return ModelRegistry.models[name].load_model_cls()


def model_config(options: Mapping[str, Any]) -> ModelConfig:
    """What vLLM makes of engine arguments, given by name; no weights are read.

    Raises:
        OSError: for what is neither a model's folder nor found on the hub.
        ValueError: for a model that can't be served, or not with these arguments.
    """
    from vllm.engine.arg_utils import EngineArgs

    return EngineArgs.from_cli_args(Namespace(**options)).create_model_config()


def reason(error: Exception) -> str:
    """vLLM's own words in an error that may have come through pydantic."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return str(error)


def compiled_inside_only(model_class: type[nn.Module]) -> None:
    """Has a class run its own ``forward`` as it is, even where vLLM compiles that of a class it is made from.

    The submodules are compiled as ever.
    """
    from vllm.compilation.decorators import ignore_torch_compile

    ignore_torch_compile(model_class)


def second_model_config(vllm_config: VllmConfig, model_config: ModelConfig) -> VllmConfig:
    """The engine's configuration for a second model: its own quantisation, everything else shared.

    The same construction as vLLM's for a draft model (``v1/spec_decode/draft_model.py``).
    """
    from vllm.config.utils import replace

    return replace(vllm_config, quant_config=None, model_config=model_config)


def build_model(vllm_config: VllmConfig, prefix: str) -> Any:
    """An uninitialised model whose attention layers are registered with the engine under ``prefix``."""
    from vllm.model_executor.model_loader.utils import initialize_model

    with _model_tag(prefix):
        return initialize_model(vllm_config=vllm_config, prefix=prefix)


def _model_tag(tag: str) -> AbstractContextManager[None]:
    """Keeps the compiled graphs of two models in one engine apart."""
    from vllm.compilation.backends import set_model_tag

    return set_model_tag(tag)


def weights_source(model: Any, config: ModelConfig, prefix: str) -> Any:
    """A second model's checkpoint for the default loader, its names under ``prefix``."""
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    return DefaultModelLoader.Source(
        config.model,
        config.revision,
        prefix=prefix,
        fall_back_to_pt=getattr(model, "fall_back_to_pt_during_load", True),
        allow_patterns_overrides=getattr(model, "allow_patterns_overrides", None),
        is_unused_weight=getattr(model, "is_unused_checkpoint_weight", None),
    )


def two_checkpoint_formats() -> list[str]:
    """The ``load_format`` values whose loader reads a model's ``secondary_weights``."""
    from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    return sorted(
        name
        for name, loader in _LOAD_FORMAT_TO_MODEL_LOADER.items()
        if issubclass(loader, DefaultModelLoader)
    )


def whole_graph_architectures() -> Collection[str]:
    """The architectures that vLLM doesn't compile, so that their CUDA graphs hold the whole forward pass."""
    from vllm.config.vllm import default_breakable_cudagraph_architectures

    return default_breakable_cudagraph_architectures()


def load_model(model: Any, config: ModelConfig, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Fills a model from ``build_model`` and makes it ready to run, as vLLM's loader does for the one it knows of.

    Raises:
        ValueError: naming the parameters that the checkpoint lacks.
    """
    from vllm.model_executor.model_loader.utils import process_weights_after_loading

    parameters = dict(model.named_parameters())
    loaded = model.load_weights(weights)
    missing = sorted(parameters.keys() - loaded) if loaded is not None and config.quantization is None else []
    if missing:
        raise ValueError(f"amateur: {config.model} lacks the weights of {', '.join(missing[:5])}")
    process_weights_after_loading(model, config, next(iter(parameters.values())).device)


def in_dummy_run() -> bool:
    """Whether the running forward pass is vLLM's own profiling, warm-up or graph capture."""
    from vllm.forward_context import get_forward_context

    return get_forward_context().attn_metadata is None


def request_failures() -> tuple[type[Exception], ...]:
    """What ``EngineClient.generate`` raises for one request that fails while the engine goes on."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineGenerateError

    return (VLLMClientError, GracefulHTTPError, EngineGenerateError, ValueError)


def to_device(numbers: list[Any], device: torch.device) -> torch.Tensor:
    """Whole numbers of the host as an int64 tensor on ``device``, which nothing waits for."""
    import torch
    from vllm.utils.torch_utils import async_tensor_h2d

    return async_tensor_h2d(numbers, device, torch.int64)


def drawn_tokens(input_batch: Any, req_states: Any) -> list[int]:
    """Of each row of the V2 runner's batch, which token of its answer it draws; below 0 inside the prompt."""
    known = input_batch.num_computed_tokens_np + input_batch.num_scheduled_tokens
    tokens: list[int] = (known - req_states.prompt_len.np[input_batch.idx_mapping_np]).tolist()
    return tokens


@contextmanager
def unfinished_prompts_undrawn(runner: Any) -> Iterator[None]:
    """Sets aside the seeded generators of the V1 runner's rows whose draw of this step will be thrown away."""
    batch = runner.input_batch
    thrown_away = runner.discard_request_mask.np[: batch.num_reqs].nonzero()[0].tolist()
    aside = {row: batch.generators.pop(row) for row in thrown_away if row in batch.generators}
    try:
        yield
    finally:
        batch.generators.update(aside)


def prompts_one_by_one(runner: Any, alone: Callable[[int], AbstractContextManager[None]]) -> None:
    """Has the V1 runner compute the log-probabilities of one prompt after the other.

    Args:
        runner: changed in place.
        alone: entered around each; given vLLM's number of the request's adapter, 0 for none.
    """
    all_at_once = runner._get_prompt_logprobs_dict

    def one_by_one(hidden_states: Any, num_scheduled_tokens: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        asked = runner.num_prompt_logprobs
        try:
            for request in [each for each in asked if each in runner.input_batch.req_id_to_index]:
                row = runner.input_batch.req_id_to_index[request]
                runner.num_prompt_logprobs = one = {request: asked[request]}
                with alone(int(runner.input_batch.request_lora_mapping[row])):
                    found |= all_at_once(hidden_states, num_scheduled_tokens)
                if not one:  # its prompt is read to the end
                    del asked[request]
        finally:
            runner.num_prompt_logprobs = asked
        return found

    runner._get_prompt_logprobs_dict = one_by_one


def use_cpu_lora(location: str) -> None:
    """Has vLLM's LoRA layers on a CPU call the class at ``location`` (``module.Class``). Re-entrant."""
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.get_punica_wrapper = classmethod(lambda cls: location)


#: The largest vocabulary whose head vLLM wraps for LoRA (``lora/layers/logits_processor.py``).
LARGEST_LORA_VOCABULARY = 258048


def adapter_ranks() -> tuple[int, ...]:
    """The values vLLM takes as the largest rank of any adapter."""
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    return get_args(MaxLoRARanks)


def takes_lora(architecture: str) -> bool:
    """Whether vLLM's class for ``architecture`` can be given LoRA adapters."""
    from vllm.model_executor.models import supports_lora

    return bool(supports_lora(architecture_class(architecture)))


def prepares_its_own_inputs(architecture: str) -> bool:
    """Whether vLLM's class for ``architecture`` names the V2 runner's class that prepares its inputs."""
    return hasattr(architecture_class(architecture), "get_model_state_cls")
