"""What a start makes of ``--adapters`` and its like: the engine's options, the server's settings, lines to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore, default_store, find_base, fingerprint
from motet_decoding.errors import LaunchError
from motet_server.adapters.copies import ServerFolder
from motet_server.adapters.scan import Place, Scanner, unfit
from motet_server.adapters.settings import AdapterOptions, AdapterSettings

#: Options of vLLM's that motet sets itself, and what to say instead.
_OURS = {
    "lora_modules": "publish the adapter instead, POST /v1/adapters or AdapterStore.publish: it is checked and loaded "
    "while the server runs",
    "max_loras": "use --adapter-slots",
    "max_cpu_loras": "use --max-adapters",
    "default_mm_loras": "adapters are chosen by the request's model here",
}

#: So many adapters are named in the start block.
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a server with adapters starts with, and the folder that it removes at its end."""

    settings: AdapterSettings
    folder: ServerFolder


def check_lora_options(options: Any) -> None:
    """Refuses vLLM's own LoRA options where motet has others for the same.

    Raises:
        LaunchError: naming the option and what to use.
    """
    from motet_server.launch_private import option_defaults

    for name, default in option_defaults(_OURS).items():
        if getattr(options, name, default) != default:
            raise LaunchError(f"--{name.replace('_', '-')}: isn't available here; {_OURS[name]}")


def prepare_adapters(
    asked: AdapterOptions, model: str, options: Any, *, bundled: Path | None
) -> Prepared | str:
    """Sets the engine's options for adapters, in place.

    Args:
        asked: the command line's.
        model: the base, a folder or a hub name.
        options: vLLM's, those of a pair already among them.
        bundled: the store of the bundled adapters, if they are of this model.

    Returns:
        What to serve them with, or why there are none.

    Raises:
        LaunchError: for what was asked for and can't be had.
    """
    from motet_decoding.engine.adapters import adapter_options, no_adapters, no_rewards
    from motet_decoding.engine.kinds import read_model

    check_lora_options(options)
    if not asked.enabled:
        if options.enable_lora:
            raise LaunchError("--enable-lora: --no-adapters says the opposite")
        return "none (--no-adapters)"
    if asked.store is not None and asked.store.exists() and not asked.store.is_dir():
        raise LaunchError(f"--adapters: {asked.store} isn't a folder")
    config = read_model("model", {**vars(options), "model": model})
    reason, rewardless = no_adapters(config), no_rewards(config, vars(options))
    base = None
    if reason is None:
        try:
            base = fingerprint(model, options.revision)
        except AlignmentError as error:
            reason = str(error)
    if base is None:
        if asked.store is not None or options.enable_lora:
            raise LaunchError(f"--adapters: {model} can't be given adapters: {reason}")
        return f"none: {reason}"
    try:
        chosen = adapter_options(
            model,
            vars(options),
            slots=min(asked.slots, asked.most),
            loaded=asked.most + 1,  # while a name moves, both of its versions are loaded
            max_rank=asked.max_rank,
        )
    except LaunchError as error:
        raise LaunchError(f"{error}; or serve no adapters, --no-adapters") from None
    for name, value in chosen.items():
        setattr(options, name, value)
    store = AdapterStore(asked.store or default_store()).root
    folder = ServerFolder(store)
    settings = AdapterSettings(
        store=store,
        bundled=bundled,
        folder=folder.path,
        model=find_base(model, options.revision),
        base=base,
        most=asked.most,
        max_rank=options.max_lora_rank,
        pins=asked.pins,
        max_upload=asked.max_upload,
        no_rewards=rewardless,
    )
    return Prepared(settings, folder)


def places_of(settings: AdapterSettings) -> list[Place]:
    """Where the server's adapters come from, the one that may be written to first."""
    bundled = [] if settings.bundled is None else [Place(AdapterStore(settings.bundled), bundled=True)]
    return [Place(AdapterStore(settings.store)), *bundled]


def adapter_lines(settings: AdapterSettings, taken: Sequence[str]) -> list[str]:
    """What the start block says of adapters: those that answer, and those of this name or base that can't."""
    found = Scanner(places_of(settings)).scan()
    served, refused = [], []
    for name, there in found.items():
        adapter = there.versions.get(there.current or "")
        reason = there.problem or (
            None
            if adapter is None
            else unfit(adapter, settings.base, settings.max_rank, taken, settings.no_rewards)
        )
        if reason is not None:
            refused.append(f"{name}: refused: {reason}")
        elif adapter is not None:
            served.append(f"{adapter.reference} ({adapter.kind}{', bundled' if there.place.bundled else ''})")
    lines = [*served[:_SHOWN], *([f"and {len(served) - _SHOWN} more"] if len(served) > _SHOWN else [])]
    lines += [
        *refused[:_SHOWN],
        *([f"and {len(refused) - _SHOWN} more refused"] if len(refused) > _SHOWN else []),
    ]
    published = {reference for name, there in found.items() for reference in (name, *there.versions)}
    lines += [f"{pin}: pinned, and not published yet" for pin in settings.pins if pin not in published]
    return [*(lines or ["none yet"]), f"published in {settings.store}; GET /v1/adapters lists them"]
