"""What a start makes of the options about adapters: vLLM's arguments, lines to show, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.server.making import publish

from motet_alignment.store import AdapterStore
from motet_decoding.errors import LaunchError
from motet_server import launch_private
from motet_server.adapters.launch import Prepared, adapter_lines, prepare_adapters
from motet_server.adapters.settings import AdapterOptions

pytestmark = pytest.mark.engine


def prepare(model: Path, *arguments: str, bundled: Path | None = None, **asked: Any) -> tuple[Any, Any]:
    options = launch_private.parse_options(
        [str(model), *arguments], {"model": str(model), "enforce_eager": True}
    )
    prepared = prepare_adapters(AdapterOptions(**asked), str(model), options, bundled=bundled)
    if isinstance(prepared, Prepared):
        prepared.folder.close()
    return prepared, options


def test_the_engine_is_told_of_room_for_what_may_be_loaded(made, tmp_path):
    prepared, options = prepare(made.base, store=tmp_path / "store", slots=8, most=5, max_rank=20)
    assert (options.enable_lora, options.max_loras, options.max_lora_rank) == (True, 5, 32)
    assert options.max_cpu_loras >= 6, "while a name moves, both of its versions are loaded"
    assert (prepared.settings.most, prepared.settings.store) == (5, tmp_path / "store")


def test_lines_name_what_is_served_and_why_the_rest_is_not(made, tmp_path):
    store, bundled = AdapterStore(tmp_path / "store"), AdapterStore(tmp_path / "bundled")
    mine = publish(store, made.loras[0], made.base, "mine")
    publish(store, made.loras[0], made.base, "toy")
    theirs = publish(bundled, made.reward, made.base, "judge", kind="reward")
    prepared, _ = prepare(made.base, store=store.root, bundled=bundled.root, pins=("mine", "typo"))
    assert adapter_lines(prepared.settings, ["toy"]) == [
        f"{mine.reference} (sft)",
        f"{theirs.reference} (reward, bundled)",
        "toy: refused: a model of this server has this name; publish it under another",
        "typo: pinned, and not published yet",
        f"published in {store.root}; GET /v1/adapters lists them",
    ]
    prepared, _ = prepare(made.base, store=tmp_path / "empty")
    assert adapter_lines(prepared.settings, [])[0] == "none yet"


@pytest.mark.parametrize(
    ("arguments", "asked", "told"),
    [
        (["--lora-modules", "a=/x"], {}, "--lora-modules: isn't available here; publish the adapter instead"),
        (["--max-loras", "3"], {}, "--max-loras: isn't available here; use --adapter-slots"),
        (["--max-cpu-loras", "3"], {}, "use --max-adapters"),
        (["--enable-lora"], {"enabled": False}, "--no-adapters says the opposite"),
        ([], {"store": Path(__file__)}, "isn't a folder"),
        ([], {"max_rank": 5000}, "max_lora_rank: 5000"),
    ],
)
def test_what_cannot_be_honoured_is_said_with_what_can(made, tmp_path, arguments, asked, told):
    with pytest.raises(LaunchError) as refused:
        prepare(made.base, *arguments, **{"store": tmp_path / "store", **asked})
    assert told in str(refused.value)


def test_no_adapters_are_no_adapters(made):
    prepared, options = prepare(made.base, enabled=False)
    assert (prepared, options.enable_lora) == ("none (--no-adapters)", None)


def test_a_model_that_takes_none_is_served_without_unless_they_were_asked_for(made, tmp_path, monkeypatch):
    from motet_decoding.engine import adapters

    monkeypatch.setattr(adapters, "no_adapters", lambda config: "it is made of wood")
    monkeypatch.setenv("MOTET_HOME", str(tmp_path))
    prepared, options = prepare(made.base)
    assert (prepared, options.enable_lora) == ("none: it is made of wood", None)
    with pytest.raises(LaunchError, match="can't be given adapters: it is made of wood"):
        prepare(made.base, store=tmp_path / "store")
