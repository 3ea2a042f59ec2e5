"""How a load was measured, in words."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.load.figures import blocks_of
from motet_benchmarks.load.records import Load, Metric

#: What wide tables call the latencies.
SHORT: Mapping[Metric, str] = {"first token": "TTFT", "per token": "TPOT", "end to end": "E2E"}


def method(load: Load) -> list[str]:
    """How a load was put on whom, and what the words in the tables mean."""
    whole = sum(member.share for member in load.mix)
    mix = ", ".join(f"{member.strategy.name} {member.share / whole:.0%}" for member in load.mix)
    servers = ", ".join(f"{server.name} ({server.model})" for server in load.servers)
    told = [
        f"{name} within {1000 * limit:g} ms"
        for name, limit in (
            ("the first token", load.targets.first_token),
            ("further tokens, on average,", load.targets.per_token),
            ("the whole answer", load.targets.end_to_end),
        )
        if limit is not None
    ]
    closed = load.steps[0].rate is None
    come = (
        "A closed loop: so many clients ask, wait for the answer and ask again; a server that is slower is asked less."
        if closed
        else "An open loop: requests come as a Poisson process, whatever became of those before. A latency counts from "
        "the moment at which its request was due, waiting for the client included."
    )
    turns = (
        f" in {load.segments} turns each, in alternating order, on the same "
        f"{'requests in the same order' if closed else 'arrivals'}"
        if len(load.servers) > 1
        else f" in {load.segments} turns"
        if load.segments > 1
        else ""
    )
    length = f"{'exactly' if load.exact else 'at most'} {load.tokens} tokens"
    return [
        f"Servers: {servers}. {come} The mix: {mix}. Prompts: {load.prompts}. Answers of {length}, "
        f"{'streamed' if load.stream else 'unstreamed'}. Each server was measured for {load.seconds:g} s in each "
        f"step{turns}, after {load.warm_up:g} s to warm up in each turn. Seed {load.seed}.",
        "Offered: requests due while it was measured. Throughput: answers that ended then; some were due before, so "
        "that it can exceed what was offered. Requests go on coming until the measured ones are settled, and count for "
        "nothing themselves. Failed: refused, broken off, "
        f"or without a whole answer {load.timeout:g} s after it was due; latencies are of the others. "
        + (f"Goodput: requests answered with {' and '.join(told)}. " if told else "")
        + "Best-of answers have no latency per token, as they are streamed once all candidates are there. Intervals "
        f"are the bootstrap's over {blocks_of(load.segments)} blocks of time in each step, since requests that are "
        "near each other share a queue. Every request opens a connection, which the first token waits for. The client "
        "may share the machine with the server.",
    ]
