"""What vLLM and its processes find around them: environment variables, entry points, the standard streams."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points

from motet_decoding.errors import LaunchError
from motet_server.bounds import BAD_WORD_TOKENS

_PLUGIN = "motet"
_PLUGIN_GROUP = "vllm.endpoint_plugins"
#: Serves HTTP without the app that our routes are on.
_OTHER_FRONTEND = "VLLM_USE_RUST_FRONTEND"
#: Lets requests load adapters from anywhere, and past the routes that check them.
_UNCHECKED_LORA = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"


def check_environment() -> None:
    """Sees that vLLM will serve with our routes; without them it would ignore every ``contrast``.

    Raises:
        LaunchError: saying what is in the way.
    """
    # vLLM only logs a plugin that it can't find.
    found = [point for point in entry_points(group=_PLUGIN_GROUP) if point.name == _PLUGIN]
    if not found:
        raise LaunchError(
            f"motet isn't installed with its entry points ({_PLUGIN_GROUP}); install it with pip"
        )
    if os.environ.get(_OTHER_FRONTEND, "0") != "0":
        raise LaunchError(f"{_OTHER_FRONTEND}: motet's routes are on vLLM's Python front end; unset it")
    if os.environ.get(_UNCHECKED_LORA, "0") not in ("", "0"):
        raise LaunchError(
            f"{_UNCHECKED_LORA}: unset it; adapters can always be loaded here, from the store (--adapters)"
        )


def set_environment(*, offline: bool, verbose: bool, max_choices: int) -> None:
    """What vLLM and its processes read from the environment, where the user hasn't set it."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if not verbose:
        # On a CPU, vLLM and torch warn dozens of times about what is as it should be.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning,ignore::UserWarning")
    # On a CPU vLLM would take most of the machine's memory for its cache. In GiB; read on CPUs only.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    # On a CPU oneDNN keeps prepared copies of layers' weights for every number of rows it has met, 1,024 of them unless
    # told: with a small model memory grows by a gigabyte over hours. Fewer were measured to cost no speed.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    # The same bound on every route, and no lower one on ours.
    os.environ.setdefault("VLLM_MAX_N_SEQUENCES", str(max_choices))
    os.environ.setdefault("VLLM_MAX_COMPLETION_PROMPTS", str(max_choices))
    os.environ.setdefault("VLLM_MAX_BAD_WORDS_TOTAL_TOKENS", str(BAD_WORD_TOKENS))
    set_log_level()
    if offline:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if "VLLM_PLUGINS" not in os.environ:
        # Endpoint plugins load by name only, and naming one makes vLLM load no unnamed plugin of any other kind.
        groups = entry_points()
        names = {
            point.name
            for group in groups.groups
            if group.startswith("vllm.") and group != _PLUGIN_GROUP
            for point in groups.select(group=group)
        }
        os.environ["VLLM_PLUGINS"] = ",".join(sorted(names | {_PLUGIN}))
    elif _PLUGIN not in os.environ["VLLM_PLUGINS"].split(","):
        os.environ["VLLM_PLUGINS"] += f",{_PLUGIN}"


def hush() -> None:
    """Triton's bindings end every process with pages about leaks that are nobody's here."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def set_log_level() -> None:
    """Applies VLLM_LOGGING_LEVEL to what vLLM says while it is imported, before it does so itself."""
    logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper())
