"""Presets: what a model name asks for, for clients that can't send extra fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from motet_decoding.best_of.request import MOST_CANDIDATES, BestOf, parse_best_of
from motet_decoding.contrast import Contrast, parse_contrast
from motet_decoding.errors import LaunchError, RequestError
from motet_server.files import read_yaml
from motet_server.settings import Preset
from motet_server.voices.checking import check_together, check_voices
from motet_server.voices.settings import VoiceSettings

#: The preset that every server with an amateur has.
DEFAULT_PRESET = "contrast"

#: The preset that every server with a reward has; other numbers than its own do as well.
BEST_OF_PRESET = "best-of-8"

_BEST_OF = re.compile(r"best-of-([1-9][0-9]{0,3})")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def find_preset(name: str, presets: Mapping[str, Preset], rewarded: Callable[[], bool]) -> Preset | None:
    """What stands behind the colon of a model's name; ``rewarded`` says whether there is a reward to choose by."""
    if name in presets:
        return presets[name]
    count = _BEST_OF.fullmatch(name)
    if count is None or int(count[1]) > MOST_CANDIDATES or not rewarded():
        return None
    return Preset(best_of=BestOf(n=int(count[1])))


def kind_of_preset(name: str | None, presets: Mapping[str, Preset]) -> str | None:
    """What metrics call a preset: clients choose the number of ``best-of-N``."""
    return name if name is None or name in presets else "best-of-N"


def collect_presets(
    file: Path | None, options: Iterable[str], *, defaults: Contrast, amateur: bool, most: int
) -> Mapping[str, Preset]:
    """The presets of one server: its default one, those of ``file``, those of the command line, later ones winning.

    Args:
        file: a YAML file, ``name: {contrast: {...}, best_of: {...}}``.
        options: ``NAME=JSON`` each, the JSON as in the file.
        defaults: fills the keys that a preset doesn't name.
        amateur: whether the server has a second model to contrast with.
        most: the candidates that one request may ask for.

    Raises:
        LaunchError: naming the file or option and the key.
    """
    presets = {DEFAULT_PRESET: Preset(contrast=defaults)} if amateur else {}
    for where, name, value in [*_from_file(file), *_from_options(options)]:
        preset = presets[name] = _preset(value, f"{where}: {name}", defaults)
        if preset.best_of is not None and preset.best_of.n > most:
            raise LaunchError(
                f"{where}: {name}.best_of.n: {preset.best_of.n} is more than --max-candidates {most}"
            )
        hears_amateur = preset.contrast is not None and any(
            weighted.voice == "amateur" for weighted in preset.contrast.voices
        )
        if hears_amateur and not amateur:
            raise LaunchError(
                f"{where}: {name}.contrast: needs a second model; start with --amateur MODEL, or name another voice, "
                "against"
            )
    return presets


def check_presets(presets: Mapping[str, Preset], voices: VoiceSettings, *, amateur: bool) -> None:
    """Holds the voices that presets name against those that the server will hear; an adapter may still come.

    Raises:
        LaunchError: naming the preset and the voice.
    """
    for name, preset in presets.items():
        if preset.contrast is not None:
            try:
                check_voices(preset.contrast, voices, amateur=amateur)
                check_together(preset.contrast, preset.best_of)
            except RequestError as error:
                raise LaunchError(f"preset {name}: {error}") from None


def preset_judges(presets: Mapping[str, Preset]) -> dict[str, str]:
    """The scorers that presets name, by where they do."""
    judges: dict[str, str] = {}
    for name, preset in presets.items():
        if (best_of := preset.best_of) is None:
            continue
        partial = best_of.reject or best_of.steps
        named = {"by": best_of.by, "reject.by" if best_of.reject else "steps.by": partial and partial.by}
        named |= {f"report.{index}": report for index, report in enumerate(best_of.report)}
        judges |= {f"preset {name}: best_of.{field}": judge for field, judge in named.items() if judge}
    return judges


def _preset(value: Any, where: str, defaults: Contrast) -> Preset:
    if not isinstance(value, dict):
        raise LaunchError(
            f"{where}: must be an object such as {{contrast: {{strength: 0.5}}}} or {{best_of: {{n: 8}}}}"
        )
    for key in value:
        if key not in Preset.model_fields:
            raise LaunchError(f"{where}.{key}: unknown key; known are {', '.join(Preset.model_fields)}")
    try:
        contrast = parse_contrast(value.get("contrast"), defaults)
        best_of = None if value.get("best_of") is None else parse_best_of(value["best_of"])
    except RequestError as error:
        raise LaunchError(f"{where}.{error}") from None
    if contrast is None and best_of is None:
        raise LaunchError(f"{where}.contrast: must be an object or true, unless there is a best_of")
    return Preset(contrast=contrast, best_of=best_of)


def _from_file(file: Path | None) -> Iterable[tuple[str, str, Any]]:
    if file is None:
        return
    content = read_yaml(file, "presets by name, such as `careful: {contrast: {strength: 0.8}}`")
    for name, value in content.items():
        yield str(file), _checked_name(str(file), name), value


def _from_options(options: Iterable[str]) -> Iterable[tuple[str, str, Any]]:
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise LaunchError(f"--preset {option}: must be NAME=JSON")
        try:
            value = json.loads(text)
        except ValueError as error:
            raise LaunchError(f"--preset {name}: not JSON: {error}") from None
        yield "--preset", _checked_name("--preset", name), value


def _checked_name(where: str, name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LaunchError(
            f"{where}: {name!r}: a preset's name is letters, digits, dots, dashes and underscores"
        )
    return name
