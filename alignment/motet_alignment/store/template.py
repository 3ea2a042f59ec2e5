"""An adapter's own chat template: bounded, text, and compiled the way it will be before anybody relies on it."""

from __future__ import annotations

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from motet_alignment.errors import Refused
from motet_alignment.store.base import TEMPLATE_BYTES


class _Generation(Extension):
    """``{% generation %} ... {% endgeneration %}``, by which templates mark the assistant's words."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_template(template: str, where: str) -> None:
    """Raises Refused naming ``where`` if the template is too long or the sandbox that renders it can't compile it."""
    if (size := len(template.encode())) > TEMPLATE_BYTES:
        raise Refused(f"{where} has {size} bytes; a chat template has at most {TEMPLATE_BYTES}")
    if not template.strip():
        raise Refused(f"{where} is empty; leave it out to use the base's chat template")
    # As transformers sets it up, which renders it in the server and in training.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    try:
        environment.from_string(template)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise Refused(
            f"{where}{f', line {line}' if line else ''}: no chat template: {error.message}"
        ) from None
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise Refused(f"{where}: no chat template: {error or type(error).__name__}") from None
