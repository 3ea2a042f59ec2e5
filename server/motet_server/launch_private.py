"""Reaches into parts of vLLM that its documentation does not promise, before there is a server.

Seen with vLLM 0.32.0. ``tests/server/test_launch_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from motet_decoding.errors import LaunchError


def parse_options(arguments: Sequence[str], defaults: Mapping[str, Any]) -> Namespace:
    """vLLM's own reading of ``vllm serve``'s arguments.

    Args:
        arguments: the command line behind ``serve``, the model first if it is named.
        defaults: what vLLM's options are without being named.

    Raises:
        LaunchError: with vLLM's complaint, and the option that was probably meant.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc,unused-ignore]
        def error(self, message: str) -> NoReturn:
            raise LaunchError(
                _complaint(message, [name for action in self._actions for name in action.option_strings])
            )

    cli_env_setup()
    parser = make_arg_parser(Parser(prog="motet serve"))
    parser.set_defaults(**defaults)
    try:
        options = parser.parse_args(list(arguments))
        configure_logging_from_args(options)
        validate_parsed_serve_args(options)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, LaunchError) else LaunchError(str(error)) from error
    return options  # type: ignore[no-any-return,unused-ignore]


def _complaint(message: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown == message:
        return message
    name = unknown.split()[0].split("=", 1)[0]
    if not name.startswith("-"):
        return f"{name}: not an option; if it is the model, it comes first: motet serve {name} ..."
    near = get_close_matches(name.replace("_", "-"), known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{name}: neither motet nor vLLM has this option{meant} (motet serve --vllm-help lists vLLM's)"


def print_options_help() -> None:
    """Prints the help of every option of vLLM's."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    make_arg_parser(
        FlexibleArgumentParser(prog="motet serve", usage="motet serve [MODEL] [options]")
    ).parse_args(["--help=all"])


def on_cpu() -> bool:
    """Whether vLLM will run on the CPU here."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def serve(options: Namespace) -> None:
    """Runs ``vllm serve`` in this process until it is told to stop, in whatever number of processes it needs."""
    from vllm.entrypoints.cli.serve import ServeSubcommand

    ServeSubcommand.cmd(options)


def has_chat_template(options: Namespace) -> bool:
    """Whether vLLM would find a chat template: an explicit one or the tokenizer's or its own for the architecture."""
    from vllm.renderers.hf import resolve_chat_template
    from vllm.tokenizers import get_tokenizer

    if options.chat_template is not None:
        return True
    config = options_to_model_config(options)
    tokenizer = get_tokenizer(options.tokenizer or options.model, tokenizer_mode=options.tokenizer_mode)
    return resolve_chat_template(tokenizer, chat_template=None, tools=None, model_config=config) is not None


def options_to_model_config(options: Namespace) -> Any:
    """vLLM's reading of the model's configuration."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    return AsyncEngineArgs.from_cli_args(options).create_model_config()


def option_defaults(names: Iterable[str]) -> dict[str, Any]:
    """vLLM's own values of some options of its command."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    return {name: getattr(AsyncEngineArgs, name, None) for name in names}


def gpu_share() -> float:
    """The share of a GPU's memory that vLLM takes unless told otherwise."""
    return float(option_defaults(["gpu_memory_utilization"])["gpu_memory_utilization"])
