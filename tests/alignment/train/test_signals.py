"""How a training is stopped from outside."""

from __future__ import annotations

import os
import signal

import pytest
import typer

from motet_alignment.train.cli import stoppable

ENDINGS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("first", ENDINGS)
def test_what_ends_a_training_lets_it_clear_away(first: signal.Signals, capsys):
    """A launcher that is sent Ctrl-C sends its processes SIGTERM while they already end."""
    before = [signal.getsignal(number) for number in ENDINGS]
    steps: list[str] = []

    @stoppable()
    def training() -> None:
        try:
            os.kill(os.getpid(), first)
            steps.append("went on")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("cleared away")

    with pytest.raises(typer.Exit) as stopped:
        training()
    assert steps == ["cleared away"]
    assert stopped.value.exit_code == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in ENDINGS] == before


def test_a_second_ctrl_c_is_not_kept_waiting():
    steps: list[str] = []

    @stoppable()
    def training() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("cleared away")

    with pytest.raises(typer.Exit):
        training()
    assert steps == []
