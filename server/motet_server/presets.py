"""Presets: what a model name asks for, for clients that can't send extra fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from motet_decoding.contrast import Contrast, parse_contrast
from motet_decoding.errors import LaunchError, RequestError
from motet_server.files import read_yaml
from motet_server.settings import Preset

#: The preset that every server with an amateur has.
DEFAULT_PRESET = "contrast"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def collect_presets(
    file: Path | None, options: Iterable[str], *, defaults: Contrast, amateur: bool
) -> Mapping[str, Preset]:
    """The presets of one server: its default one, those of ``file``, those of the command line, later ones winning.

    Args:
        file: a YAML file, ``name: {contrast: {...}}``.
        options: ``NAME=JSON`` each, the JSON as in the file.
        defaults: fills the keys that a preset doesn't name.
        amateur: whether the server has a second model to contrast with.

    Raises:
        LaunchError: naming the file or option and the key.
    """
    presets = {DEFAULT_PRESET: Preset(contrast=defaults)} if amateur else {}
    for where, name, value in [*_from_file(file), *_from_options(options)]:
        presets[name] = _preset(value, f"{where}: {name}", defaults)
        if not amateur:
            raise LaunchError(f"{where}: {name}.contrast: needs a second model; start with --amateur MODEL")
    return presets


def _preset(value: Any, where: str, defaults: Contrast) -> Preset:
    if not isinstance(value, dict):
        raise LaunchError(f"{where}: must be an object such as {{contrast: {{strength: 0.5}}}}")
    for key in value:
        if key not in Preset.model_fields:
            raise LaunchError(f"{where}.{key}: unknown key; known are {', '.join(Preset.model_fields)}")
    try:
        contrast = parse_contrast(value.get("contrast"), defaults)
    except RequestError as error:
        raise LaunchError(f"{where}.{error}") from None
    if contrast is None:
        raise LaunchError(f"{where}.contrast: must be an object or true")
    return Preset(contrast=contrast)


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
