"""motet's bundled offline models: two folders that any Hugging Face loader opens.

`EXPERT` and `AMATEUR` share one tokenizer and one chat template. The model card beside this file says how they
were made and what they can and can't do.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["AMATEUR", "EXPERT"]

EXPERT: Path = Path(str(files(__name__))) / "expert"
AMATEUR: Path = Path(str(files(__name__))) / "amateur"
