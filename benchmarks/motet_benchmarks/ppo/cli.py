"""``motet bench ppo``."""

from __future__ import annotations

from typing import Annotated

import typer

from motet_benchmarks.options import RESULTS, Minutes, Out, Rounds, Seed, complaints, whole_numbers

#: Prompts at once that can be asked for.
MOST = 2048


def ppo(
    batches: Annotated[
        str, typer.Option(help=f"Prompts answered at once, with commas between; at most {MOST:,}.")
    ] = "32,64,128,256",
    rounds: Rounds = 8,
    minutes: Minutes = 10.0,
    worked: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Part of the problems with worked steps that asks for them, at length."
        ),
    ] = 0.25,
    max_answer: Annotated[int, typer.Option(min=1, max=512, help="An answer's most tokens.")] = 128,
    loop_rounds: Annotated[
        int, typer.Option(min=0, help="Short trainings with each sampler; 0 for none.")
    ] = 2,
    iterations: Annotated[
        int, typer.Option(min=2, help="Of each training; the first warms up and doesn't count.")
    ] = 4,
    prompts: Annotated[int, typer.Option(min=1, max=MOST, help="Prompts of an iteration.")] = 128,
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """What rollouts from the engine are worth to PPO, beside transformers' generate: tokens per second, iterations."""
    from motet_benchmarks.errors import BenchmarkError
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.ppo.plan import Plan
    from motet_benchmarks.ppo.run import measure

    with complaints():
        sizes = whole_numbers("--batches", batches)
        if sizes[-1] > MOST:
            raise BenchmarkError(f"--batches {batches}: at most {MOST:,} prompts are answered at once")
        plan = Plan(
            batches=sizes,
            rounds=rounds,
            minutes=minutes,
            worked=worked,
            max_answer=max_answer,
            loop_rounds=loop_rounds,
            iterations=iterations,
            prompts=prompts,
            seed=seed,
        )
        measure(plan, where=circumstances(), out=out)
