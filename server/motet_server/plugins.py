"""Commands of other rooms, found by their entry points and imported when they are used."""

from __future__ import annotations

import ast
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: Other rooms add commands here; a plugin is ``name = "module:app"`` with a typer app.
COMMANDS = "motet.commands"


class PluginCommand(TyperCommand):
    """A command of another room, imported when it is used; until then its module's docstring speaks for it."""

    def __init__(self, point: EntryPoint) -> None:
        super().__init__(point.name, help=_docstring(point.module))
        self._point = point

    def load(self) -> Any:
        """The real command."""
        return typer.main.get_command(self._point.load())


class Commands(TyperGroup):
    """Our own commands and those of the entry points."""

    @cached_property
    def _plugins(self) -> dict[str, PluginCommand]:
        return {point.name: PluginCommand(point) for point in entry_points(group=COMMANDS)}

    def list_commands(self, ctx: Any) -> list[str]:
        """Ours first."""
        return [*super().list_commands(ctx), *sorted(self._plugins)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; a plugin's stays unloaded."""
        return super().get_command(ctx, cmd_name) or self._plugins.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command to run, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, PluginCommand) else command, rest


def _docstring(module: str) -> str | None:
    """The first line of a module's docstring, read without importing it."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *inner)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
                return text.splitlines()[0] if text else None
    return None
