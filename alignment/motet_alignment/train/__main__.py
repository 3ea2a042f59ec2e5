"""For launchers: accelerate launch --num_processes 2 -m motet_alignment.train sft DATA..."""

from __future__ import annotations

from motet_alignment.train.cli import app

app(prog_name="motet train")
