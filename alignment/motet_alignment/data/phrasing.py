"""Several ways to put one instruction, so that a model learns the task and not the phrase (FLAN, arXiv 2109.01652)."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from motet_alignment.data.shapes import Phrase
from motet_alignment.errors import DataError

_PLACE = re.compile(r"\{([^{}]*)\}")


class Phrasings(BaseModel):
    """Templates with the placeholders {instruction} and, where there is an input, {input}."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: tuple[str, ...] = Field(min_length=1, description="For an instruction alone.")
    input: tuple[str, ...] = Field(min_length=1, description="For an instruction with the input it is about.")

    @field_validator("instruction", "input")
    @classmethod
    def _check(cls, templates: tuple[str, ...], info: object) -> tuple[str, ...]:
        needed = (
            ["instruction"] if getattr(info, "field_name", "") == "instruction" else ["input", "instruction"]
        )
        for template in templates:
            if sorted(_PLACE.findall(template)) != needed:
                must = " and ".join(f"{{{name}}}" for name in reversed(needed))
                raise ValueError(f"{template!r} must hold {must} once and no other placeholder")
        if len(set(templates)) != len(templates):
            raise ValueError("holds a template twice")
        return templates

    def phrase(self, seed: int) -> Phrase:
        """Picks a template by the text itself and `seed`: order and neighbours change nothing."""

        def pick(instruction: str, given: str) -> str:
            templates = self.input if given else self.instruction
            key = f"{seed}\0{instruction}\0{given}".encode()
            place = int.from_bytes(hashlib.sha256(key).digest()[:8]) % len(templates)
            values = {"instruction": instruction, "input": given}
            return _PLACE.sub(lambda match: values[match.group(1)], templates[place])

        return pick


def read_phrasings(path: Path | None = None) -> Phrasings:
    """The templates of a YAML file with the lists `instruction` and `input`; motet's own without a path.

    Raises `DataError` that names the file and the template at fault.
    """
    try:
        content = (
            path.read_text(encoding="utf-8")
            if path is not None
            else files(__package__).joinpath("phrasings.yaml").read_text(encoding="utf-8")
        )
        return Phrasings.model_validate(yaml.safe_load(content))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {fault['msg'].removeprefix('Value error, ')}") from None
