"""Many random requests of all kinds at once, some of which leave early: nothing hangs, leaks or loses its voices.

``MOTET_SOAK`` says how many; a run of 2,000 takes minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.end_to_end.choosing import PROBLEMS
from tests.end_to_end.speaking import BASE, COUNTER, DPO, KINDS, SFT, chat_tokens
from tests.servers import Server, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

REQUESTS = int(os.environ.get("MOTET_SOAK", "150"))
#: Requests under way at a time, more than there are places in a step of the engine for their members.
AT_ONCE = 32
#: Seconds after which a request that hasn't ended is a hang, however busy the machine.
PATIENCE = 300
IDLE = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
VOICES: list[Any] = [
    "amateur",
    {"adapter": DPO},
    {"adapter": None, **COUNTER},
    {"prompt": "7"},
    {"prompt": list(range(5, 150))},
    COUNTER,
    {"layer": 1},
    {"layers": "high"},
]
ADAPTS = [
    None,
    "entropy",
    "divergence",
    {"by": "position", "tokens": 7},
    {"by": "position", "tokens": 3, "start": 0.0, "end": 1.0, "shape": "step"},
]
EXTRAS: list[dict[str, Any]] = [
    {},
    {},
    {"n": 3, "temperature": 0.9},
    {"stop": [" "]},
    {"logprobs": True, "top_logprobs": 2},
    {"frequency_penalty": 0.7},
    {"logit_bias": {"20": 3.0}},
    {"structured_outputs": {"regex": "[a-z]{3}[0-9]{2}"}},
]


@dataclass
class Tally:
    """What became of a soak's requests.

    Attributes:
        kinds: how many were asked, by kind.
        ended: how many came to their end, and were left early.
        faults: what no request should have been answered.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def some_contrast(rng: random.Random) -> dict[str, Any]:
    """Any voices, alone or several, of any strength that a request may ask for."""
    several = rng.random() < 0.4
    against = rng.choice(VOICES)
    if several:
        voices = rng.sample(VOICES, rng.randrange(2, 5))
        against = [{"voice": voice, "weight": rng.choice([-0.5, 0.3, 1.0])} for voice in voices]
    return {
        "against": against,
        "strength": rng.choice([0.3, 1.0, 2.5]),
        "plausibility": rng.choice([0.0, 0.05, 0.3]),
        "form": rng.choice(["extrapolate", "ratio"]),
        "adapt": rng.choice(ADAPTS),
    }


def some_request(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """Its kind, its path and its body."""
    problem = rng.choice(PROBLEMS)
    body: dict[str, Any] = {
        "model": rng.choice([BASE, SFT, DPO]),
        "messages": problem.messages(),
        "max_tokens": rng.choice([1, 4, 12, 40]),
        "temperature": rng.choice([0.0, 0.0, 0.8, 1.5]),
        "seed": rng.randrange(1000),
        "stream": rng.random() < 0.5,
        "ignore_eos": rng.random() < 0.5,
    }
    kind = rng.choices(["plain", "contrast", "best_of"], [2, 7, 1])[0]
    if kind == "contrast":
        body["model"], body["contrast"] = SFT, some_contrast(rng)
        if rng.random() < 0.4:
            kind = rng.choice(list(KINDS))
            body["model"], body["contrast"] = KINDS[kind]
    elif kind == "best_of":
        body |= {"best_of": {"n": rng.randrange(2, 5), "by": "likelihood"}, "temperature": 1.0}
        if rng.random() < 0.6:
            kind = "best_of by a group"
            body["model"], body["contrast"] = KINDS[rng.choice(["base", "messages", "low layers"])]
    if "best_of" not in kind:
        body |= rng.choice(EXTRAS)
    if "logprobs" not in body and rng.random() < 0.2:
        body["prompt"] = chat_tokens(body.pop("messages"))
        return kind, COMPLETIONS, body
    return kind, CHAT, body


async def one(client: httpx.AsyncClient, rng: random.Random, tally: Tally) -> None:
    """Sends a request, and reads its answer to the end or, one time in four, not."""
    kind, path, body = some_request(rng)
    tally.kinds[kind] += 1
    leaves = rng.random() < 0.25
    chunks, delay = rng.randrange(4), rng.random() * 0.5
    if body["stream"]:
        async with client.stream("POST", path, json=body) as answer:
            lines = 0
            last = ""
            async for line in answer.aiter_lines():
                lines += line.startswith("data: ")
                last = line or last
                reasons = finish_reasons(line)
                if "error" in reasons or '"error"' in line or answer.status_code != 200:
                    tally.faults.append(f"{answer.status_code} {line} of {json.dumps(body)}")
                if leaves and lines > chunks:
                    tally.ended["left"] += 1
                    return
            if last != "data: [DONE]":
                tally.faults.append(f"{answer.status_code} ended with {last} of {json.dumps(body)}")
        tally.ended["read to the end"] += 1
        return
    sent = client.post(path, json=body)
    try:
        answer = await (asyncio.wait_for(sent, delay) if leaves else sent)
    except TimeoutError:
        tally.ended["left"] += 1
        return
    tally.ended["read to the end"] += 1
    if answer.status_code != 200 or any(
        choice["finish_reason"] not in ("stop", "length") for choice in answer.json()["choices"]
    ):
        tally.faults.append(f"{answer.status_code} {answer.text} of {json.dumps(body)}")


def finish_reasons(line: str) -> list[Any]:
    """Those of a line of a stream."""
    if not line.startswith("data: {"):
        return []
    return [choice.get("finish_reason") for choice in json.loads(line[6:]).get("choices", [])]


def soak(server: Server, requests: int, seed: int = 0) -> Tally:
    """Sends so many requests, some at a time."""
    tally = Tally()

    async def run() -> None:
        places = asyncio.Semaphore(AT_ONCE)
        limits = httpx.Limits(max_connections=AT_ONCE)

        async def placed(number: int) -> None:
            async with places, asyncio.timeout(PATIENCE):
                await one(client, random.Random(f"{seed} {number}"), tally)

        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
            await asyncio.gather(*(placed(number) for number in range(requests)))

    asyncio.run(run())
    return tally


def greedy(server: Server) -> dict[str, str]:
    """An answer by every kind of voice."""
    answers = {}
    for kind, (model, contrast) in KINDS.items():
        body = {"model": model, "messages": PROBLEMS[1].messages(), "temperature": 0, "max_tokens": 24}
        answer = httpx.post(
            f"{server.url}{CHAT}", json={**body, "contrast": contrast, "ignore_eos": True}, timeout=PATIENCE
        )
        answers[kind] = answer.raise_for_status().json()["choices"][0]["message"]["content"]
    return answers


def is_idle(server: Server) -> bool:
    """Whether the engine holds nothing; it tells so after a step, so one is run."""
    body = {"model": BASE, "prompt": [5], "max_tokens": 1}
    httpx.post(f"{server.url}{COMPLETIONS}", json=body, timeout=PATIENCE).raise_for_status()
    return not any(map(server.metric, IDLE))


def test_many_random_requests_leave_the_server_as_it_was(bundled):
    before = greedy(bundled)
    tally = soak(bundled, REQUESTS)
    print(f"{REQUESTS} requests: {dict(tally.kinds)}, {dict(tally.ended)}")
    assert not tally.faults, tally.faults[:5]
    assert tally.ended.total() == REQUESTS
    assert min(tally.ended["left"], tally.ended["read to the end"]) > REQUESTS / 20
    wait_for(lambda: is_idle(bundled), 60)
    assert "lockstep" not in bundled.output
    assert greedy(bundled) == before
