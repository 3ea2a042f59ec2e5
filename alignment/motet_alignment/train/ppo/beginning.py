"""What a PPO run begins with: its place, the adapters beside its policy, and what tells it from other runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from motet_alignment.errors import StoreError, TrainError
from motet_alignment.store import Adapter
from motet_alignment.train.devices import Place, choose_place
from motet_alignment.train.models import Base, find_adapter
from motet_alignment.train.ppo.prompts import Prompts
from motet_alignment.train.ppo.rewards import first_reward_adapter, pinned
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.state import State
from motet_alignment.train.session import identity_of


def check_rewards(settings: PpoSettings) -> None:
    """Raises TrainError where a reward's address holds what logs, metrics and the manifest must not tell."""
    asked = [*(("--reward", spec) for spec in settings.reward), ("--gold", settings.gold or "")]
    for option, spec in (*asked, ("--url", settings.url or "")):
        if not spec.startswith(("http://", "https://")):
            continue
        address, _, behind = spec.partition("?")
        if behind or "@" in address:
            keys = "$MOTET_API_KEY" if option == "--url" else "$MOTET_SCORER_KEY"
            raise TrainError(
                f"{option} {address.partition('://')[0]}://...: a password, or anything behind a ?, would be told in "
                f"logs and in the adapter's manifest; a key belongs into {keys}"
            )


def check_held_out(settings: PpoSettings, prompts: Prompts) -> None:
    """Raises TrainError where something is asked of evaluations and there are none."""
    if prompts.held_out:
        return
    for name in ("gold", "patience"):
        if getattr(settings, name) is not None:
            raise TrainError(
                f"--{name} needs held-out prompts, and there are none; give --eval or --held-out"
            )


def shared_place(settings: PpoSettings) -> Place:
    """Where to train. Raises TrainError for what this machine doesn't have, and what its processes can't share."""
    place = choose_place(settings.device, settings.precision)
    if settings.precision == "auto" and place.device == "cpu":
        # PPO compares probabilities before and after a step, and bf16 blurs them by a hundredth and more.
        place = replace(place, precision="fp32")
    if settings.prompts % place.processes:
        raise TrainError(
            f"--prompts {settings.prompts} can't be shared evenly by {place.processes} processes"
        )
    if (answers := settings.prompts * settings.answers // place.processes) < settings.steps_a_pass:
        raise TrainError(
            f"--minibatches {settings.steps_a_pass}: a process has no more than {answers} answers; lower it, or raise "
            "--prompts"
        )
    return place


def find_reference(settings: PpoSettings, base: Base) -> Adapter | None:
    """The adapter to stay close to; None is the bare base. Raises TrainError."""
    if settings.reference == "base":
        return None
    if settings.reference == "start":
        return base.start
    try:
        adapter = find_adapter(settings.reference, settings.store)
    except StoreError as problem:
        raise TrainError(f"--reference {settings.reference}: {problem}") from None
    if adapter.kind == "reward":
        raise TrainError(f"--reference {adapter.reference}: a reward adapter is no policy to stay close to")
    if differ := base.fingerprint.differences(adapter.manifest.base, template=False):
        raise TrainError(
            f"--reference {adapter.reference}: it was trained on {adapter.manifest.base.name}, "
            f"whose {' and '.join(differ)} are not those of {base.fingerprint.name}"
        )
    return adapter


def first_state(settings: PpoSettings, base: Base, reference: Adapter | None) -> State:
    """Before the first iteration: no divergence, where the policy starts at its reference."""
    there = (reference and reference.reference) == (base.start and base.start.reference)
    return State(kl_coefficient=settings.kl_coefficient, kl=0.0 if there else None)


def value_start(settings: PpoSettings, base: Base) -> Adapter | None:
    """The reward adapter that values start at; None where they start at nothing, or there are none."""
    if settings.estimator != "gae" or settings.value_start == "base":
        return None
    found = first_reward_adapter(settings, base)
    if found is None and settings.value_start == "reward":
        raise TrainError("--value-start reward: no --reward is an adapter:NAME")
    return found


def describe(
    settings: PpoSettings, base: Base, prompts: Prompts, place: Place, reference: Adapter | None
) -> dict[str, Any]:
    """What decides the weights that come out, as JSON: the same for two runs that may go on from each other."""
    return {
        **identity_of(settings, base, place),
        # A name stands for another version when one is published meanwhile.
        "reward": [pinned(spec, settings, base) for spec in settings.reward],
        "gold": None if settings.gold is None else pinned(settings.gold, settings, base, "--gold"),
        "reference": None if reference is None else reference.reference,
        "data": prompts.digest,
    }
