"""Every reach of the decoding room into parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/decoding/test_vllm_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
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

    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


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


def weights_source(path: str, prefix: str) -> Any:
    """A second checkpoint for the default loader, its names under ``prefix``."""
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    return DefaultModelLoader.Source(path, None, prefix=prefix)


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
