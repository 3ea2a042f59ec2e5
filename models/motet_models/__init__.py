"""motet's bundled offline models: two folders that any Hugging Face loader opens, and a store of adapters.

`EXPERT` and `AMATEUR` share one tokenizer and one chat template. `ADAPTERS` holds the expert's adapters in the layout
of motet's adapter store. The model card beside this file says how they were made and what they can and can't do.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["ADAPTERS", "AMATEUR", "EXPERT"]

EXPERT: Path = Path(str(files(__name__))) / "expert"
AMATEUR: Path = Path(str(files(__name__))) / "amateur"
ADAPTERS: Path = Path(str(files(__name__))) / "adapters"
