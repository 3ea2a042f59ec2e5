"""``motet serve``: everything that can be checked is checked, then vLLM serves with our routes on its app."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from motet_decoding.errors import LaunchError
from motet_server.best_of.options import check_judges, check_scorers
from motet_server.command import ServeCommand
from motet_server.console import StartDisplay, start_block
from motet_server.environment import check_environment, hush, set_environment
from motet_server.presets import check_presets, collect_presets, preset_judges
from motet_server.reward_process import GPU_SHARE, RewardProcesses, read_rewards
from motet_server.settings import BUNDLED_JUDGE, BUNDLED_NAME, RewardModel, ServerSettings
from motet_server.voices.launch import prepare_voices, read_layers, voice_line

#: What a model without a chat template is given, by option.
CHATML = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""

#: Options of vLLM's by which the server would be elsewhere than where motet looks and says, and why.
_REFUSED = {
    "uds": "motet listens on --host and --port",
    "grpc": "motet's routes are HTTP's",
    "data_parallel_multi_port_external_lb": "its servers listen on ports that motet doesn't look at; start each with "
    "--data-parallel-rank and its own --port",
}

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def serve(command: ServeCommand) -> None:
    """Serves until told to stop.

    Raises:
        LaunchError: saying what to do instead, before any model is loaded.
    """
    model, amateur = _models(command)
    presets = collect_presets(
        command.presets,
        command.preset,
        defaults=command.contrast,
        amateur=amateur is not None,
        most=command.max_candidates,
    )
    scorers = check_scorers(command.scorers)
    judge = command.best_of_by or (BUNDLED_JUDGE if command.model is None else "reward")
    check_judges({"--best-of-by": judge, **preset_judges(presets)}, scorers)
    layers = None if command.layers is None else read_layers(command.layers)
    settings = ServerSettings(
        amateur=amateur,
        contrast=command.contrast,
        presets=presets,
        max_body=command.max_body,
        max_choices=command.max_choices,
        max_candidates=command.max_candidates,
        best_of_by=judge,
        scorers=scorers,
        scorer_timeout=command.scorer_timeout,
    )
    reward_models = read_rewards(command.rewards)
    # A node without a server listens nowhere.
    port = command.port if "--headless" in command.vllm else _free_port(command.host, command.port)
    check_environment()
    set_environment(
        offline=command.model is None and command.amateur is None,
        verbose=command.verbose,
        max_choices=command.max_choices,
    )

    if not command.verbose:
        atexit.register(hush)  # before vLLM registers anything, so it runs after all of that

    # From here on vLLM is imported, which takes seconds.
    from motet_server import launch_private
    from motet_server.adapters.launch import adapter_lines, prepare_adapters

    options = launch_private.parse_options([model, *command.vllm], _defaults(command, model, port))
    _check_options(options, {"host": command.host, "port": port, "model": model})
    if command.default_chat_template == "chatml" and not launch_private.has_chat_template(options):
        options.chat_template = CHATML
        settings = settings.model_copy(update={"chatml": True})
    shortened = None if amateur is None else _pair(options, model, amateur, command.amateur_revision)
    names = options.served_model_name or [model]
    prepared = prepare_adapters(command.adapters, model, options, bundled=_bundled_adapters(command))
    if isinstance(prepared, str):
        adapters = [prepared]
    else:
        atexit.register(prepared.folder.close)
        settings = settings.model_copy(update={"adapters": prepared.settings})
        adapters = adapter_lines(prepared.settings, [*names, *reward_models])
    voices = prepare_voices(
        command.max_voices, layers if layers is not None else _default_layers(command), model, options
    )
    check_presets(presets, voices, amateur=amateur is not None)
    settings = settings.model_copy(update={"voices": voices})
    settings = settings.model_copy(update={"rewards": _reward_models(reward_models, names, command, options)})
    options.motet = settings

    name = names[0]
    shown = "127.0.0.1" if command.host in {"0.0.0.0", "::"} else command.host
    scheme = "https" if options.ssl_certfile else "http"
    block = start_block(
        version=version("motet"),
        model=name,
        source="bundled" if command.model is None else model,
        amateur="bundled" if amateur is not None and command.amateur is None else amateur,
        revision=command.amateur_revision,
        address=f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}",
        shortened=shortened,
        presets=list(settings.presets),
        voices=voice_line(voices, adapters=settings.adapters is not None),
        adapters=adapters,
        rewards=[f"{reward.name}  ({reward.model})" for reward in settings.rewards],
        key=bool(options.api_key or os.environ.get("VLLM_API_KEY")),
    )
    if options.headless:
        display: AbstractContextManager[object] = nullcontext()
        print(f"motet runs engines of {name} for a server on another node", flush=True)
    else:
        display = StartDisplay((shown, port), f"motet is starting {name} ...", block)
    with display:
        try:
            launch_private.serve(options)
        except Exception as error:
            if command.verbose:
                raise
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise LaunchError(f"{reason} (--verbose shows vLLM's own log)") from error


def _models(command: ServeCommand) -> tuple[str, str | None]:
    if command.model is not None:
        _check_model("model", command.model)
    if command.amateur is not None:
        _check_model("amateur", command.amateur)
    elif command.amateur_revision is not None:
        raise LaunchError("--amateur-revision: names a revision of an amateur; give --amateur MODEL as well")
    if command.model is not None:
        return command.model, command.amateur
    from motet_models import AMATEUR, EXPERT

    for path in (EXPERT, AMATEUR):
        if not (path / "config.json").is_file():
            raise LaunchError(f"the bundled models are missing ({path}); rebuild them with `make models`")
    return str(EXPERT), command.amateur or str(AMATEUR)


def _default_layers(command: ServeCommand) -> Literal["all", "none"]:
    """Keeping the states between layers costs memory, and a GPU its whole CUDA graphs: who wants them says so."""
    from motet_server import launch_private

    return "all" if command.model is None and command.max_voices and launch_private.on_cpu() else "none"


def _reward_models(
    models: Mapping[str, str], names: Sequence[str], command: ServeCommand, options: Any
) -> tuple[RewardModel, ...]:
    """Starts the servers of reward models, which end with this process."""
    from motet_server import launch_private

    if not models:
        return ()
    for name in models:
        if name in names:
            raise LaunchError(f"--reward {name}: the model itself has this name")
    cpu = launch_private.on_cpu()
    processes = RewardProcesses(models, cpu=cpu, verbose=command.verbose)
    atexit.register(processes.close)
    if not cpu:
        from motet_server.reward_models import RewardModels

        # Each measures the GPU's free memory while it starts, so they start one after the other.
        asyncio.run(RewardModels(processes.models).ready())
        if options.gpu_memory_utilization == launch_private.gpu_share():
            options.gpu_memory_utilization -= GPU_SHARE * len(models)
    return tuple(processes.models)


def _bundled_adapters(command: ServeCommand) -> Path | None:
    """The store of the adapters that come with the bundled model, if that is served and they are there."""
    from motet_models import ADAPTERS

    return ADAPTERS if command.model is None and ADAPTERS.is_dir() else None


def _check_model(field: str, model: str) -> None:
    """A folder must be one of a model; anything that can only be a path must be there; the rest is the hub's."""
    path = Path(model).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "params.json")):
            raise LaunchError(f"{field}: {model} has no config.json, so it isn't a model's folder")
    elif not path.is_file() and "://" not in model and ":" not in model and not _HUB_NAME.fullmatch(model):
        raise LaunchError(f"{field}: {model} doesn't exist")


def _free_port(host: str, port: int) -> int:
    """The port to serve on, seen to be free; vLLM binds it again after a minute of loading."""
    try:
        # vLLM takes a name's IPv4 address, whatever else it has.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        if port and error.errno is not None and error.errno == 98:
            raise LaunchError(f"port {port} on {host} is in use; choose another with --port") from None
        raise LaunchError(f"can't listen on {host} port {port}: {error.strerror or error}") from None


def _check_options(options: Any, settled: Mapping[str, Any]) -> None:
    """What motet has looked at and will show must be what vLLM serves, however vLLM came by another value."""
    for name, reason in _REFUSED.items():
        if getattr(options, name):
            raise LaunchError(f"--{name.replace('_', '-')}: isn't available here: {reason}")
    for name, value in settled.items():
        if (other := getattr(options, name)) != value:
            raise LaunchError(
                f"--{name}: {other} has reached vLLM past motet, which has {value}; "
                f"write it out among motet's options, --{name} {other}"
            )


def _defaults(command: ServeCommand, model: str, port: int) -> dict[str, Any]:
    from motet_decoding.engine.launch import CPU_WORKER
    from motet_server import launch_private

    defaults: dict[str, Any] = {"host": command.host, "port": port, "model": model}
    if command.model is None:
        defaults["served_model_name"] = [BUNDLED_NAME]
        defaults["dtype"] = "float32"  # as they were trained; on a CPU vLLM would round them to bfloat16
    if not command.verbose:
        defaults |= {"uvicorn_log_level": "warning", "use_tqdm_on_load": False}
    if launch_private.on_cpu():
        defaults["enforce_eager"] = True  # nothing is gained there by a minute of compiling
        defaults["worker_cls"] = CPU_WORKER
    return defaults


def _pair(options: Any, model: str, amateur: str, revision: str | None) -> int | None:
    """Makes the options those of a pair; returns the context in tokens where the amateur shortened it."""
    from motet_decoding.engine.launch import pair_options

    paired = pair_options(model, amateur, vars(options), amateur_revision=revision)
    shortened: int | None = paired["max_model_len"] if options.max_model_len is None else None
    for name, value in paired.items():
        setattr(options, name, value)
    return shortened
