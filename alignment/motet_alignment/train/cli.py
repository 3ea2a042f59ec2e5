"""motet train: adapters from data files, published where the server finds them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from motet_alignment.complaints import complaints
from motet_alignment.train.options import command
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.settings import AdapterSettings, DpoSettings, RewardSettings, SftSettings

app = typer.Typer(
    help="Train an adapter: LoRA by supervised fine-tuning, as a reward model, by preferences (DPO), or by rewards for "
    "its own answers (PPO). Done, it is in the adapter store, where a running server picks it up. On several GPUs: "
    "accelerate launch -m motet_alignment.train sft ..., on several CPU processes: torchrun --nproc-per-node 2 -m "
    "motet_alignment.train ...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@contextmanager
def stoppable() -> Iterator[None]:
    """What the user can mend is said in a sentence; Ctrl-C and SIGTERM end quietly and can be gone on from."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with complaints("motet train"):
            yield
    except KeyboardInterrupt:
        typer.echo("motet train: stopped; the same command goes on from the last checkpoint", err=True)
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM is a service manager's Ctrl-C: engines are ended, and what lies on servers is taken away."""
    # A launcher passes Ctrl-C on as SIGTERM, which mustn't break off that ending; a second Ctrl-C may.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def _run(settings: AdapterSettings) -> None:
    from motet_alignment.train import train
    from motet_alignment.train.report import report

    trained = train(settings)
    # Of several processes of one training the first one talks.
    if os.environ.get("RANK", "0") == "0":
        typer.echo(report(settings, trained))


for _settings in (SftSettings, RewardSettings, DpoSettings, PpoSettings):
    app.command(_settings.kind())(command(_settings, _run, stoppable))
