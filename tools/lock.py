"""Resolve requirements/{cpu,cuda,dev}.txt anew: every package of the closure with its exact version.

Run with the version of uv in requirements/uv.txt on the PATH:

    python tools/lock.py [--upgrade PACKAGE]...

Versions already in a lock are kept unless a changed requirement or --upgrade asks for another. Only metadata is
fetched, so the CUDA lock can be resolved on a machine without GPU.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
# Conditions that hold wherever the project runs at all (CPython below 3.14 on Linux): they only hide the rest.
_ALWAYS = {
    "python_full_version < '3.14'",
    "sys_platform == 'linux'",
    "implementation_name != 'PyPy'",
    "implementation_name != 'pypy'",
    "platform_python_implementation != 'PyPy'",
}
_MACHINES = {"platform_machine == 'aarch64'", "platform_machine == 'x86_64'"}


def _simplify(line: str) -> str:
    """Drop from a pin's marker what is always true here, and the machine where both machines agree."""
    pin, _, marker = line.partition(" ; ")
    ways = [set(re.split(r" and ", way.strip("()"))) - _ALWAYS for way in marker.split(" or ")]
    ways = [way for way in ways if "implementation_name == 'pypy'" not in way]
    machines: dict[frozenset[str], set[str]] = {}
    for way in ways:
        machines.setdefault(frozenset(way - _MACHINES), set()).update(way & _MACHINES)
    shown = [
        " and ".join(sorted(rest | (found if len(found) == 1 else set()))) for rest, found in machines.items()
    ]
    if not marker or "" in shown:
        return pin
    return f"{pin} ; {' or '.join(shown)}"


def _name(pin: str) -> str:
    return pin.partition("==")[0]


def _pins(lock: Path) -> list[str]:
    """The pins of a lock; none where there is no lock yet."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def _resolve(*arguments: str, known: list[str]) -> list[str]:
    """Resolve with uv, preferring the `known` pins, to simplified lock lines."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        output.write_text("\n".join(known))  # uv prefers the versions that its output file holds
        command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--no-build", "--quiet"]
        command += ["--no-header", "--no-annotate", "--output-file", str(output), *arguments]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return [_simplify(line) for line in output.read_text().splitlines()]


def _write(name: str, lines: list[str]) -> None:
    new = LOCKS / f"{name}.txt.new"
    new.write_text("# Made by tools/lock.py.\n" + "\n".join(lines) + "\n")
    new.rename(LOCKS / f"{name}.txt")
    print(f"requirements/{name}.txt: {len(lines)} pins")


def main() -> None:
    """Resolve the three locks, the CUDA lock and the tools keeping to the CPU lock's versions where they can."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="append", default=[], metavar="PACKAGE")
    upgrades = [f"--upgrade-package={package}" for package in parser.parse_args().upgrade]

    known = [pin for pin in _pins(LOCKS / "cpu.txt") if _name(pin) != "torch"]
    overrides = ("--overrides", "requirements/cpu-overrides.txt")
    cpu = _resolve("pyproject.toml", "requirements/cpu.in", *overrides, *upgrades, known=known)
    resolved = {_name(pin) for pin in cpu}
    known = cpu + [pin for pin in _pins(LOCKS / "cuda.txt") if _name(pin) not in resolved]
    cuda = _resolve("pyproject.toml", "requirements/cuda.in", *upgrades, known=known)
    torch = next(pin for pin in cuda if _name(pin) == "torch")
    _write("cpu", sorted([*cpu, torch]))
    _write("cuda", sorted(cuda))

    # The tools go on top of either lock, so they may not bring another version of what both locks hold.
    held = tuple(f"--constraints=requirements/{name}.txt" for name in ("cpu", "cuda"))
    dev = _resolve("--group", "dev", *held, *upgrades, known=_pins(LOCKS / "dev.txt"))
    shared = resolved & {_name(pin) for pin in cuda}
    _write("dev", [pin for pin in dev if _name(pin) not in shared])


if __name__ == "__main__":
    main()
