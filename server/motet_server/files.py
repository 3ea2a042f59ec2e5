"""The YAML files that a server is started with: presets, and vLLM's options."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from motet_decoding.errors import LaunchError


def read_yaml(file: Path, holds: str) -> dict[Any, Any]:
    """The mapping in ``file``; ``holds`` says what it should be, for the error where it isn't one.

    Raises:
        LaunchError: naming the file, and the line or key.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # a SafeLoader
    except OSError as error:
        raise LaunchError(f"{file}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LaunchError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise LaunchError(f"{file}: must hold {holds}")
    return content


def config_arguments(file: Path | None, own: Collection[str]) -> list[str]:
    """The arguments by which vLLM reads its options from ``file``; none without one.

    Args:
        file: what ``--config`` names.
        own: motet's options, with underscores. vLLM would take some of them after motet has checked and shown its
            own, and doesn't know the others.

    Raises:
        LaunchError: naming the file and the key.
    """
    if file is None:
        return []
    for key in read_yaml(file, "options of vLLM's by name, such as `max-model-len: 4096`"):
        name = str(key).replace("-", "_")
        if name in own:
            option = str(key).replace("_", "-")
            raise LaunchError(
                f"{file}: {key}: an option of motet's own; give it on the command line, --{option}"
            )
        if not isinstance(key, str):
            raise LaunchError(f"{file}: {key!r}: not an option's name")
    return ["--config", str(file)]


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; a setting must not vanish so."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)
