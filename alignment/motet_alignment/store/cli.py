"""``motet adapters``: look through the store, move names between versions, add and remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from motet_alignment.complaints import complaints
from motet_alignment.errors import Refused, StoreError
from motet_alignment.store.adapter import Adapter
from motet_alignment.store.manifest import Kind
from motet_alignment.store.store import AdapterStore, default_store

app = typer.Typer(
    help="The adapter store: look through it, move a name to another version, add and remove. A running server "
    "follows within moments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Store = Annotated[
    Path | None,
    typer.Option(
        "--store", help="The store's folder; $MOTET_HOME/adapters (~/.motet/adapters) when left out."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Six digits of a version will do.")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list")
def list_adapters(store: Store = None, as_json: Json = False) -> None:
    """Every adapter: the version its name stands for, its kind, its base, its age, what was measured."""
    from datetime import UTC, datetime

    from motet_alignment.store.tables import listing, table

    with complaints("motet adapters"):
        opened = _open(store)
        names = listing(opened)
        if as_json:
            _print_json(names)
        elif names:
            _print(table(names, datetime.now(UTC)))
            for name in names:
                for reason in name["damaged"].values():
                    typer.echo(f"damaged: {reason}", err=True)
        else:
            typer.echo(f"No adapters in {opened.root}. motet train and motet adapters add publish some.")


@app.command()
def show(reference: Reference, store: Store = None, as_json: Json = False) -> None:
    """All that is known of one version: its base, data, settings, metrics and files."""
    from motet_alignment.store.files import disk_errors
    from motet_alignment.store.tables import page

    with complaints("motet adapters"):
        opened = _open(store)
        adapter = opened.get(reference)
        current = opened.current(adapter.name) == adapter.version
        if as_json:
            _print_json(
                {**adapter.manifest.model_dump(mode="json"), "current": current, "path": str(adapter.path)}
            )
            return
        with disk_errors(f"reading {adapter.reference}"):
            _print(page(adapter, current=current))
        for move in opened.history(adapter.name)[-10:]:
            typer.echo(f"{move.at}  {move.by:<9} {adapter.name} -> {move.version or 'nothing'}")


@app.command()
def promote(reference: Reference, store: Store = None) -> None:
    """Make NAME stand for the version; requests in flight end on the one they began with."""
    with complaints("motet adapters"):
        opened = _open(store)
        before = opened.current(reference.partition("@")[0])
        adapter = opened.promote(reference)
        if before == adapter.version:
            typer.echo(f"{adapter.name} stood for {adapter.version} already.")
        else:
            undo = f" Undo: motet adapters rollback {adapter.name}" if before else ""
            typer.echo(f"{adapter.name} now stands for {adapter.version}.{undo}")


@app.command()
def rollback(name: Name, store: Store = None) -> None:
    """Make NAME stand for what it stood for before; once more, for what came before that."""
    with complaints("motet adapters"):
        opened = _open(store)
        before = opened.current(name)
        adapter = opened.rollback(name)
        typer.echo(
            f"{name} now stands for {adapter.version} again. Undo: motet adapters promote {name}@{before}"
        )


@app.command()
def remove(
    reference: Reference,
    store: Store = None,
    everything: Annotated[bool, typer.Option("--all", help="NAME with all its versions.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="The current version too; NAME then stands for the one before it.")
    ] = False,
) -> None:
    """Remove a version for good. NAME alone will do if it has a single one."""
    with complaints("motet adapters"):
        opened = _open(store)
        if everything:
            if "@" in reference:
                raise StoreError(f"--all removes every version; give it the name alone, not {reference}")
            gone = opened.remove_all(reference)
            typer.echo(f"Removed {reference} with its versions {', '.join(gone)}.")
            return
        removed = opened.remove(reference, force=force)
        name = removed.partition("@")[0]
        left = opened.current(name)
        typer.echo(f"Removed {removed}." + (f" {name} stands for {left}." if left else ""))


@app.command()
def prune(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All names when left out.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of a name's newest versions stay.")] = 3,
    store: Store = None,
) -> None:
    """Remove old versions. The current one and the one that a rollback would go back to always stay."""
    with complaints("motet adapters"):
        gone = _open(store).prune(name, keep)
        for adapter in gone:
            typer.echo(f"Removed {adapter.reference}.")
        if not gone:
            typer.echo("Nothing to remove.")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="What PEFT saved, with any trainer.")],
    name: Annotated[str, typer.Option(help="What to call it; a further version where the name is known.")],
    kind: Annotated[Kind, typer.Option(help="What it was trained for.")],
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="The model it was trained on: folder or hub name.")
    ],
    revision: Annotated[
        str | None, typer.Option(help="The revision of the base, if it is a hub name.")
    ] = None,
    promoted: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Make NAME stand for it at once.")
    ] = True,
    store: Store = None,
) -> None:
    """Check an adapter from another trainer against its base and publish it."""
    from motet_alignment.store.base import find_base
    from motet_alignment.store.fingerprint import fingerprint
    from motet_alignment.store.publish import left_out

    with complaints("motet adapters"):
        ignored = left_out(folder)
        adapter = _open(store).publish(
            folder,
            name=name,
            kind=kind,
            base=fingerprint(base, revision),
            base_folder=find_base(base, revision),
            promote=promoted,
        )
        if ignored:
            typer.echo(f"Left out: {', '.join(ignored)}.")
        typer.echo(f"Published {adapter.reference}{', the current version' if promoted else ''}.")


@app.command()
def verify(
    reference: Annotated[
        str | None,
        typer.Argument(metavar="[NAME[@VERSION]]", help="All versions of all names when left out."),
    ] = None,
    store: Store = None,
) -> None:
    """Read every file again and compare it with what was published; exit code 2 if something differs."""
    with complaints("motet adapters"):
        opened = _open(store)
        wrong: list[str] = []
        whole: list[Adapter] = []
        if reference is not None:
            whole.append(opened.get(reference))
        for name in opened.names() if reference is None else []:
            wrong += opened.damaged(name).values()
            whole += opened.versions(name)
        for adapter in whole:
            try:
                opened.verify(adapter)
            except Refused as error:
                wrong.append(str(error))
            else:
                typer.echo(f"{adapter.reference} is whole.")
        if wrong:
            raise Refused("; ".join(wrong))


def _open(store: Path | None) -> AdapterStore:
    return AdapterStore(default_store() if store is None else store)


def _print(drawn: Any) -> None:
    from rich.console import Console

    console = Console()
    # In a pipe nothing is cut to a width that nobody sees.
    console.print(drawn, soft_wrap=True) if console.is_terminal else Console(width=240).print(drawn)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
