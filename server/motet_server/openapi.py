"""The server's own API pages (``/docs``): vLLM's description of the two bodies, with our fields in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from motet_decoding.best_of.request import BestOf
from motet_decoding.contrast import Contrast
from motet_server.requests import Route

_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, routes: Sequence[Route]) -> None:
    """Adds the bodies of ``routes``, which read them by themselves, to what ``app`` says of its API."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for route in routes:
                name = route.request_type.__name__
                schemas |= _body(route, schemas)
                content = {"application/json": {"schema": {"$ref": _REF.format(model=name)}}}
                schema["paths"][route.path]["post"]["requestBody"] = {"required": True, "content": content}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _body(route: Route, known: dict[str, Any]) -> dict[str, Any]:
    """The schema of a route's body and of what it refers to, by name; ``known`` names stay as they are."""
    body = route.request_type.model_json_schema(ref_template=_REF)
    parts = {name: part for name, part in body.pop("$defs", {}).items() if name not in known}
    contrast = Contrast.model_json_schema(ref_template=_REF)
    parts |= contrast.pop("$defs", {})
    body["properties"]["contrast"] = {
        "anyOf": [contrast, {"type": "boolean"}, {"type": "null"}],
        "description": "Sharpens the answer against other voices: a second model, the model without its adapter, "
        "another adapter, another prompt, or the model's own early layers.",
    }
    best_of = BestOf.model_json_schema(ref_template=_REF)
    parts |= best_of.pop("$defs", {})
    body["properties"]["best_of"] = {
        "anyOf": [best_of, {"type": "integer"}, {"type": "boolean", "const": False}, {"type": "null"}],
        "description": "Draws several candidates and answers with the best.",
    }
    return {**parts, route.request_type.__name__: body}
