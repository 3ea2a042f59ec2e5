"""From the voices that a request names to what the engine is asked for, without an engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel
from tests.server.best_of.judging import Service

from motet_decoding.contrast import Contrast, parse_contrast
from motet_decoding.engine.arguments import Asked, Heard, Mix, ensure_engine_key, read_asked
from motet_decoding.errors import RequestError
from motet_server.adapters.entry import State
from motet_server.adapters.leases import Leases, chat_template
from motet_server.requests import Order
from motet_server.room import Room
from motet_server.voices import arranging
from motet_server.voices.arranging import arrange
from motet_server.voices.borrowing import Lender
from motet_server.voices.group import Group
from motet_server.voices.settings import VoiceSettings

pytestmark = pytest.mark.anyio

SETTINGS = VoiceSettings(most=8, no_groups=None, no_layers=None, layers=(0, 1, 2, 3), depth=4)
ROOM = Room(context=64, sequences=4, slots=2, block=16, blocks=None)
VERSION = "0123456789ab"
TEMPLATES = {"tutor": "the answer's", "other": "its own"}


class Body(BaseModel):
    """Stands in for vLLM's."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    vllm_xargs: dict[str, str] | None = None
    cache_salt: str | None = None


class House:
    """A server's adapters and engine, as far as voices look at them."""

    def __init__(self, monkeypatch: Any, room: Room = ROOM, *, adapters: bool = True) -> None:
        self.service = Service()
        self.leases = Leases(self.service.shelf)
        for number, (name, kind) in enumerate({"tutor": "sft", "other": "dpo", "judge": "reward"}.items(), 1):
            entry = self.service.stock(name, kind, template=TEMPLATES.get(name))
            self.service.requests[entry.reference] = SimpleNamespace(
                lora_name=entry.reference, lora_int_id=number, lora_path=f"/copies/{name}"
            )
        self.read: list[tuple[Any, str, str | None]] = []
        self.lender = (
            Lender(self.service, self.leases, ("toy",)) if adapters else Lender(None, None, ("toy",))
        )  # type: ignore[arg-type]
        self.slots = room.slots
        monkeypatch.setattr(arranging.vllm_private, "room_of", lambda state: room)

        async def tokens_of(state: Any, request: Any, voice: Any, field: str, template: str | None) -> Any:
            self.read.append((voice.prompt or voice.messages, field, template))
            return (7, 8, 9)

        monkeypatch.setattr(arranging, "tokens_of", tokens_of)

    def order(self, against: Any, adapter: str | None = None, body: Body | None = None, **more: Any) -> Order:
        contrast = parse_contrast({"against": against, **more}, Contrast())
        reference = adapter and f"{adapter}@{VERSION}"
        return Order(body or Body(), "toy", None, contrast, adapter=reference)

    async def arrange(
        self, against: Any, adapter: str | None = None, **more: Any
    ) -> tuple[Any, Group | None, Asked]:
        order = self.order(against, adapter, **more)
        borrowed = await self.lender.take(order.contrast, adapter, self.slots)
        told, group = await arrange(order, SETTINGS, None, self.lender, borrowed.voices)
        return told, group, read_asked(order.request.vllm_xargs, ensure_engine_key())

    async def refusal(self, against: Any, adapter: str | None = None, **more: Any) -> RequestError:
        with pytest.raises(RequestError) as refused:
            await self.arrange(against, adapter, **more)
        return refused.value


@pytest.fixture
def house(monkeypatch: Any) -> House:
    return House(monkeypatch)


async def test_the_base_reads_the_answers_prompt_without_its_adapter(house):
    told, group, asked = await house.arrange("base", "tutor", strength=1.5)
    assert [(member.tokens, member.adapter) for member in asked.members] == [(None, None)]
    assert asked.contrast == Mix(strength=1.5, voices=(Heard(source="member", member=1),))
    assert told["against"] == "base"
    assert group is not None
    assert group.members == asked.members


async def test_another_adapter_is_borrowed_until_the_request_is_over(house):
    told, _, asked = await house.arrange({"adapter": "other"}, "tutor")
    (member,) = asked.members
    assert (member.adapter.name, member.adapter.number, member.adapter.path) == (
        f"other@{VERSION}",
        2,
        "/copies/other",
    )
    assert told["against"] == {"adapter": f"other@{VERSION}"}
    entry = house.service.shelf.find("other")
    answers = house.service.shelf.find("tutor")
    assert (entry.users, house.leases.entries, chat_template.get()) == (1, [answers], "the answer's")
    house.leases.close()
    assert (entry.users, answers.users) == (0, 0)


async def test_a_prompt_is_read_by_the_answers_adapter_unless_another_is_named(house):
    _, _, asked = await house.arrange({"prompt": "a"}, "tutor")
    assert asked.members[0].tokens == (7, 8, 9)
    assert asked.members[0].adapter.name == f"tutor@{VERSION}"
    told, _, asked = await house.arrange({"adapter": None, "messages": [{"role": "user"}]}, "tutor")
    assert asked.members[0].adapter is None
    assert told["against"] == {"adapter": None, "prompt_tokens": 3}
    await house.arrange({"adapter": "other", "prompt": "b"}, "tutor")
    assert [(field, template) for _, field, template in house.read] == [
        ("contrast.against", "the answer's"),
        ("contrast.against", None),
        ("contrast.against", "its own"),
    ]


async def test_a_prompt_without_an_adapter_needs_none(monkeypatch):
    _, _, asked = await House(monkeypatch, adapters=False).arrange({"prompt": "a"})
    assert [(member.tokens, member.adapter) for member in asked.members] == [((7, 8, 9), None)]


async def test_several_voices_are_heard_by_their_weights_and_those_of_none_not_at_all(house):
    voices = [
        {"voice": "amateur", "weight": 0.5},
        {"voice": {"adapter": "other"}, "weight": -1.0},
        {"voice": "base", "weight": 0.0},
        {"voice": {"layers": "low"}, "weight": 2.0},
        {"voice": {"prompt": "a"}},
    ]
    told, group, asked = await house.arrange(voices, "tutor")
    assert asked.contrast.voices == (
        Heard(source="amateur", weight=0.5),
        Heard(source="member", member=1, weight=-1.0),
        Heard(source="layer", layers=(0,), weight=2.0),
        Heard(source="member", member=2),
    )
    assert [member.tokens for member in asked.members] == [None, (7, 8, 9)]
    assert list(group.fields) == ["contrast.against.1.voice", "contrast.against.4.voice"]
    assert len(told["against"]) == 5


async def test_layers_and_the_amateur_make_no_group(house):
    _, group, asked = await house.arrange([{"voice": "amateur"}, {"voice": {"layer": 3}}])
    assert group is None
    assert asked.members == ()
    assert asked.contrast.voices == (Heard(source="amateur"), Heard(source="layer", layers=(3,)))


async def test_a_neutral_contrast_is_checked_told_and_not_sent(house):
    neutral = {"strength": 0, "plausibility": 0}
    told, group, asked = await house.arrange({"adapter": "other"}, "tutor", **neutral)
    assert (group, asked) == (None, Asked())
    assert told["against"] == {"adapter": f"other@{VERSION}"}
    assert (await house.refusal({"adapter": "nobody"}, **neutral)).field == "contrast.against.adapter"
    assert (await house.refusal("base", **neutral)).field == "contrast.against"


@pytest.mark.parametrize(
    ("against", "adapter", "field", "words"),
    [
        ("base", None, "contrast.against", "nothing to contrast with"),
        ({"adapter": None}, None, "contrast.against", "nothing to contrast with"),
        ({"adapter": "tutor"}, "tutor", "contrast.against.adapter", "itself answers"),
        ({"adapter": f"tutor@{VERSION}"}, "tutor", "contrast.against.adapter", "itself answers"),
        ({"adapter": "nobody"}, None, "contrast.against.adapter", "no adapter 'nobody'"),
        ({"adapter": "judge"}, None, "contrast.against.adapter", "gives rewards"),
        ({"adapter": "toy"}, None, "contrast.against.adapter", "null"),
        ({"adapter": "tutor@ffffff"}, None, "contrast.against.adapter", "no version"),
        (
            [{"voice": "amateur"}, {"voice": {"adapter": "nobody"}}],
            None,
            "contrast.against.1.voice.adapter",
            "no adapter",
        ),
        ([{"voice": {"prompt": "a"}}] * 4, None, "contrast.against", "--max-num-seqs"),
        ([{"voice": {"adapter": "other"}}, {"voice": "base"}], "tutor", None, None),
    ],
)
async def test_what_can_not_be_heard_is_named(house, against, adapter, field, words):
    if field is None:
        await house.arrange(against, adapter)
        return
    error = await house.refusal(against, adapter)
    assert error.field == field
    assert words in error.message


async def test_more_adapters_than_a_step_holds_are_refused(monkeypatch):
    house = House(monkeypatch, Room(context=64, sequences=4, slots=1, block=16, blocks=None))
    await house.arrange("base", "tutor")
    await house.arrange({"adapter": "other"})
    error = await house.refusal({"adapter": "other"}, "tutor")
    assert (error.field, "--adapter-slots" in error.message) == ("contrast.against", True)


async def test_no_room_for_an_adapter_is_told_as_its_own_trouble(monkeypatch):
    house = House(monkeypatch)
    service = Service(most=1, patience=0.01)
    for name in ("first", "second"):
        service.stock(name, "sft")
    await Leases(service.shelf).take("first")
    house.lender = Lender(service, Leases(service.shelf), ("toy",))
    error = await house.refusal({"adapter": "second"})
    assert (error.field, error.status, error.retry_after) == ("contrast.against.adapter", 503, 5)


async def test_more_adapters_than_are_kept_loaded_are_refused_before_any_is(monkeypatch):
    house = House(monkeypatch)
    service = Service(most=1)
    for name in ("first", "second"):
        service.stock(name, "sft")
    house.lender = Lender(service, Leases(service.shelf), ("toy",))
    error = await house.refusal({"adapter": "second"}, "first")
    assert (error.field, "--max-adapters" in error.message) == ("contrast.against", True)
    assert {entry.state for entry in service.shelf.entries()} == {State.AVAILABLE}


async def test_two_requests_never_hold_what_the_other_waits_for(monkeypatch):
    """The engine keeps two; each request needs two, and none of them is the other's."""
    service = Service(most=2, patience=5.0)
    for name in "abcd":
        service.stock(name, "sft")

    async def serve(answers: str, voice: str) -> None:
        leases = Leases(service.shelf)
        contrast = parse_contrast({"against": {"adapter": voice}}, Contrast())
        borrowed = await Lender(service, leases, ("toy",)).take(contrast, answers, 2)
        assert [borrowed.answers.name, *borrowed.voices] == [answers, voice]
        assert all(entry.state is State.LOADED for entry in (borrowed.answers, *borrowed.voices.values()))
        await asyncio.sleep(0)
        leases.close()

    pairs = [("a", "b"), ("c", "d"), ("b", "c"), ("d", "a")] * 3
    async with asyncio.timeout(4.0):
        await asyncio.gather(*(serve(*pair) for pair in pairs))
    assert not any(entry.users for entry in service.shelf.entries())


async def test_a_server_without_adapters_says_so(monkeypatch):
    error = await House(monkeypatch, adapters=False).refusal({"adapter": "tutor"})
    assert (error.field, "this server has none" in error.message) == ("contrast.against.adapter", True)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (Body(), None),
        (Body(max_tokens=5), "max_tokens"),
        (Body(max_tokens=None), None),
        (Body(max_tokens=5, max_completion_tokens=6), "max_completion_tokens"),
    ],
)
async def test_the_field_that_says_how_long_an_answer_may_be_is_known(house, body, asked):
    _, group = await arrange(house.order({"prompt": "a"}, body=body), SETTINGS, None, house.lender, {})
    assert group.asked == asked


async def test_a_client_that_leaves_while_voices_are_found_leaves_nothing_borrowed(house):
    begun = asyncio.Event()

    async def forever(*_: Any) -> Any:
        begun.set()
        await asyncio.sleep(3600)

    arranging.tokens_of = forever  # put back by the fixture's monkeypatch
    task = asyncio.create_task(house.arrange({"adapter": "other", "prompt": "a"}))
    await begun.wait()
    assert house.service.shelf.find("other").users == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    house.leases.close()
    assert house.service.shelf.find("other").users == 0
