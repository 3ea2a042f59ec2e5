"""CUDA graphs, where a model's ``forward`` does in each step what that step asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motet_decoding.engine import vllm_private
from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    from vllm.config import ModelConfig

#: With 1, vLLM records CUDA graphs over whole forward passes; it sets that by itself where the variable is absent.
_WHOLE_GRAPHS = "VLLM_USE_BREAKABLE_CUDAGRAPH"


def own_steps(config: ModelConfig, options: Mapping[str, Any], what: str, frozen: str) -> dict[str, Any]:
    """The engine arguments under which a model's own ``forward`` is called in each step, to do what that step asks for.

    A CUDA graph over the whole pass would freeze what it did when the graph was captured.

    Args:
        config: the model's.
        options: the engine arguments asked for otherwise.
        what: needs it, for the error.
        frozen: what would be, for the error.

    Raises:
        LaunchError: for an option, or an environment, that says otherwise.
    """
    if os.environ.setdefault(_WHOLE_GRAPHS, "0") == "1":
        raise LaunchError(f"{_WHOLE_GRAPHS}: can't be used with {what}: it would freeze {frozen}")
    if not options.get("enforce_eager"):
        if os.environ.get("VLLM_BATCH_INVARIANT") == "1":
            raise LaunchError(
                f"VLLM_BATCH_INVARIANT: needs enforce_eager with {what}: without it vLLM may rely on CUDA graphs over "
                f"whole passes, which would freeze {frozen}"
            )
        if config.architecture in vllm_private.whole_graph_architectures():
            raise LaunchError(
                f"enforce_eager: needed for {config.architecture} with {what}: vLLM doesn't compile it, and CUDA "
                f"graphs over the whole of it would freeze {frozen}"
            )
    return {"compilation_config": _compilation(options.get("compilation_config"), what, frozen)}


def _compilation(asked: Any, what: str, frozen: str) -> Any:
    """Piecewise CUDA graphs, with ``forward`` between them."""
    if asked is None:
        return {"cudagraph_mode": "PIECEWISE"}
    own = isinstance(asked, dict)
    mode = asked.get("cudagraph_mode") if own else asked.cudagraph_mode
    name = "PIECEWISE" if mode is None else str(getattr(mode, "name", mode)).upper()
    if name not in {"PIECEWISE", "NONE"}:
        raise LaunchError(
            f"compilation_config.cudagraph_mode: {name} can't be used with {what}: it would freeze {frozen}; use "
            "PIECEWISE or NONE"
        )
    if own:
        return {**asked, "cudagraph_mode": name}
    if mode is None:
        # vLLM's command line hands over its own class, and would choose full graphs later.
        asked.cudagraph_mode = type(asked)(cudagraph_mode=name).cudagraph_mode
    return asked
