"""Make `.venv`: Python's own venv, torch, the locked packages and motet itself, one printed line a stage.

The Makefile calls this when its stamp file is missing, and only then; it can also be run by hand. Only the
standard library is used, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "setup.log"
LOCKS = ROOT / "requirements"
PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]

NO_CPU_TORCH = """
The CPU build of torch {version} was found neither where pip looks nor at PyTorch's own index (the log above says
why). Either give this machine access to that index and run `make setup` again, or fetch the wheel of
torch {version}+cpu for Python {python} ({machine}) elsewhere, put it into a folder, and run
    PIP_FIND_LINKS=/that/folder make setup
"""


class SetupError(Exception):
    """A stage failed; the message is what the user can do about it, if anything special."""


def run(command: list[str]) -> bool:
    """Run a command with its output going to the log; whether it succeeded."""
    with LOG.open("a") as log:
        print("$", *command, file=log, flush=True)
        return (
            subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
            == 0
        )


def must(command: list[str], advice: str = "") -> None:
    """Run a command and raise SetupError with `advice` where it fails."""
    if not run(command):
        raise SetupError(advice)


def make_venv() -> None:
    """Begin with an empty environment, so that nothing half-done of an earlier run is left in it."""
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    VENV.mkdir(exist_ok=True)
    LOG.write_text(made.stdout + made.stderr)
    if made.returncode:
        raise SetupError("On Debian and Ubuntu, `apt-get install python3-venv` supplies what venv needs.")


def install_torch(backend: str) -> None:
    """Install the locked torch; on a CPU machine its CPU build, which the public package index does not have."""
    pins = (LOCKS / f"{backend}.txt").read_text().split()
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    install = [*PIP, "--no-deps"]
    if backend == "cuda":
        must([*install, torch])
    elif not run([*install, f"{torch}+cpu"]):
        # Where no wheel folder or index is set up for pip, uv knows where PyTorch keeps its CPU builds.
        must([*install, "-r", str(LOCKS / "uv.txt")])
        advice = NO_CPU_TORCH.format(
            version=torch.partition("==")[2], python=platform.python_version(), machine=platform.machine()
        )
        uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON), "--no-deps"]
        must([*uv, "--torch-backend", "cpu", torch], advice)


def install_packages(backend: str) -> None:
    """Install both locks as they stand: `--no-deps` keeps out what the CPU lock leaves out on purpose."""
    must([*PIP, "--no-deps", "-r", str(LOCKS / f"{backend}.txt"), "-r", str(LOCKS / "dev.txt")])
    must([str(PYTHON), "-c", "import torch; print('torch', torch.__version__)"])
    packages_stamp(backend).touch()


def install_motet() -> None:
    """Install motet itself, editable, with the build backend that the lock brought."""
    must([*PIP, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def packages_stamp(backend: str) -> Path:
    """The file that says that torch and the packages of just these locks are in the environment."""
    parts = [platform.python_version().encode(), str(ROOT).encode()]
    parts += [(LOCKS / f"{name}.txt").read_bytes() for name in (backend, "dev")]
    return VENV / f".packages-{backend}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}"


def set_up(backend: str, stamp: Path) -> None:
    """Run the stages that are due, then write the backend's name and the stamp.

    Raises:
        SetupError: a stage failed; no stamp is written, so the next run starts it again.
    """
    stages: list[tuple[str, Callable[[], None]]] = []
    if not packages_stamp(backend).exists():
        stages.append(("venv", make_venv))
        stages.append(("torch", lambda: install_torch(backend)))
        stages.append(("packages", lambda: install_packages(backend)))
    stages.append(("motet", install_motet))
    print(f"setting up .venv ({backend}, Python {platform.python_version()})", flush=True)
    for name, stage in stages:
        print(f"  {name:<9}", end="", flush=True)
        start = time.monotonic()
        stage()
        print(f"{time.monotonic() - start:6.1f} s", flush=True)
    (VENV / ".backend").write_text(f"{backend}\n")
    for old in VENV.glob(".motet-*"):
        old.unlink()
    stamp.touch()


def main() -> int:
    """Set up, one process at a time; 0 where the environment is complete, 1 after a failure, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["cpu", "cuda"], required=True, help="which lock to install")
    parser.add_argument(
        "--stamp", type=Path, default=VENV / ".motet-by-hand", help="written when all is done"
    )
    options = parser.parse_args()
    if (platform.system(), platform.machine()) not in {("Linux", "x86_64"), ("Linux", "aarch64")}:
        print(
            "vLLM's wheels are for Linux on x86_64 and aarch64; elsewhere use a container or WSL 2.",
            file=sys.stderr,
        )
        return 1
    with Path(__file__).open() as lock:  # a second `make` waits here, then finds the stamp
        fcntl.flock(lock, fcntl.LOCK_EX)
        if options.stamp.exists() and options.stamp.name != ".motet-by-hand":
            return 0
        try:
            set_up(options.backend, options.stamp)
        except SetupError as failure:
            tail = [line[:300] for line in LOG.read_text().splitlines()[-20:]]
            print("failed\n", *tail, sep="\n", file=sys.stderr)
            print(f"{failure}\nSet-up failed; the whole log is {os.path.relpath(LOG)}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nSet-up was interrupted; `make setup` begins it again.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
