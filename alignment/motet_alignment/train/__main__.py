"""For launchers: accelerate launch (or torchrun) ... -m motet_alignment.train sft DATA..."""

from __future__ import annotations

from motet_alignment.train.cli import app

app(prog_name="motet train")
