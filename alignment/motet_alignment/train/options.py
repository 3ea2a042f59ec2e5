"""Settings as command-line options and as YAML: one list of fields, no second one to keep in step."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from motet_alignment.errors import TrainError
from motet_alignment.train.settings import AdapterSettings

S = TypeVar("S", bound=AdapterSettings)

_PANELS = {
    "Data": "shape on_bad eval held_out phrasing min_answer max_answer max_prompt copies duplicates near_duplicates "
    "context packing pretraining mix",
    "Adapter": "name model revision start chat_template rank alpha dropout target_modules store publish promote",
    "Loss": "loss beta label_smoothing length_normalised confidence reference centring pointwise",
    "Where and how often": "precision device seed folder resume log_every save_every eval_every evaluate "
    "gradient_checkpointing",
}
_REST = "Training"
# PPO's, which come first; what stands here stands in none of the panels above.
_PPO_PANELS = {
    "Rewards": "reward weight gold missing_end_penalty length_penalty length_free",
    "Rollouts": "rollouts url api_key prompts answers temperature max_answer importance_cap",
    "Advantages": "estimator gamma gae_lambda whiten_rewards whiten_advantages reward_clip",
    "PPO": "iterations epochs minibatches clip_range value_clip_range value_coefficient value_learning_rate "
    "value_start value_warm_up entropy_coefficient",
    "KL": "reference kl_coefficient kl_target kl_horizon update_kl max_kl",
    "Evaluation": "eval held_out held_out_prompts eval_every patience evaluate sample_every",
    "Memory": "batch_tokens gradient_checkpointing engine_memory",
}


def option_of(name: str, field: FieldInfo) -> str:
    """A field's option without its dashes, which is also its key in YAML."""
    return (field.alias or name).replace("_", "-")


def command(
    settings: type[S], run: Callable[[S], None], around: Callable[[], AbstractContextManager[None]]
) -> Callable[..., None]:
    """A Typer command whose options are the fields of `settings`, and --config; all of it happens within `around`."""

    def called(**given: Any) -> None:
        with around():
            run(collect(settings, given))

    panels = {**_PPO_PANELS, **_PANELS} if settings.kind() == "ppo" else _PANELS
    fields = [(_panel(name, panels), name, field) for name, field in settings.model_fields.items()]
    if settings.kind() == "ppo":
        order = [*_PPO_PANELS, *_PANELS, _REST]
        fields.sort(key=lambda one: order.index(one[0]))
    parameters = [_parameter(name, field, panel) for panel, name, field in fields]
    parameters.append(
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    "--config",
                    help="A YAML file of these options, without dashes in front; the command line beats it.",
                ),
            ],
        )
    )
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    paragraphs = inspect.cleandoc(settings.__doc__ or "").split("\n\n")
    called.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return called


def collect(settings: type[S], given: Mapping[str, Any]) -> S:
    """Settings from a YAML file (`given["config"]`) and options that beat it; None and () were not given.

    Raises TrainError naming the option, or the file and key, at fault.
    """
    told = {key: value for key, value in given.items() if key != "config" and value not in (None, (), [])}
    file = given.get("config")
    known = read_config(settings, file) if file is not None else {}
    # Of two that exclude each other the command line's stands.
    for one, other in (("batch_size", "batch_tokens"), ("eval", "held_out")):
        for name, rival in ((one, other), (other, one)):
            if name in told and rival not in told:
                known.pop(rival, None)
    try:
        return settings.model_validate({**known, **told})
    except ValidationError as problem:
        raise TrainError(_complaint(settings, problem, set(known) - set(told), file)) from None


def read_config(settings: type[AdapterSettings], file: Path) -> dict[str, Any]:
    """What a YAML file says of the fields, by their names. Raises TrainError naming file and key."""
    try:
        said = _load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise TrainError(f"--config {file}: {problem}") from None
    except yaml.YAMLError as problem:
        raise TrainError(f"--config {file}: no valid YAML: {' '.join(str(problem).split())}") from None
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise TrainError(f"--config {file}: must hold keys and values")
    names = {option_of(name, field): name for name, field in settings.model_fields.items()}
    values: dict[str, Any] = {}
    for key, value in said.items():
        option = str(key).replace("_", "-")
        if option not in names:
            near = difflib.get_close_matches(option, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TrainError(
                f"--config {file}: key {key!r} is no option of motet train {settings.kind()}{hint}"
            )
        if names[option] in values:
            raise TrainError(f"--config {file}: key {key!r} stands twice")
        many = typing.get_origin(_plain(settings.model_fields[names[option]].annotation)) is tuple
        values[names[option]] = [value] if many and not isinstance(value, list) else value
    return values


def _load(text: str) -> Any:
    """What YAML says; of two equal keys YAML would take the last and say nothing."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        seen: set[str] = set()
        for key, _ in root.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"key {key.value!r} stands twice, in line {key.start_mark.line + 1} again"
                )
            seen.add(key.value)
    return yaml.safe_load(text)


def _complaint(
    settings: type[AdapterSettings], problem: ValidationError, from_file: set[str], file: Path | None
) -> str:
    first = problem.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"--config {file}: {reason}" if from_file else reason
    place = str(first["loc"][0])
    name = next(
        (name for name, field in settings.model_fields.items() if place in (name, field.alias)), place
    )
    option = option_of(name, settings.model_fields[name]) if name in settings.model_fields else place
    if name == "data":
        return "no data file was given" if first["type"] in ("missing", "too_short") else f"DATA: {reason}"
    if name in from_file:
        return f"--config {file}: {option}: {reason}, not {first['input']!r}"
    return f"--{option}: {reason}, not {first['input']!r}"


def _parameter(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    option = option_of(name, field)
    kind: Any = _plain(field.annotation)
    if name == "data":
        annotation: Any = Annotated[
            list[Path] | None, typer.Argument(help=field.description, show_default=False)
        ]
    else:
        names = [f"--{option}/--no-{option}"] if kind is bool else [f"--{option}"]
        many = typing.get_origin(kind) is tuple
        if many:
            kind = list[_plain(typing.get_args(kind)[0])]  # type: ignore[misc]
        annotation = Annotated[
            kind | None,
            typer.Option(
                *names,
                help=f"{field.description}{_default(field)}",
                show_default=False,
                rich_help_panel=panel,
            ),
        ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(annotation: Any) -> Any:
    """The type without `| None` and without pydantic's bounds, which are checked when settings are made."""
    if typing.get_origin(annotation) is Annotated:
        return _plain(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return _plain(next(part for part in typing.get_args(annotation) if part is not type(None)))
    return annotation


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ("", ()) or field.is_required():
        return ""
    if isinstance(value, bool):
        return f" (default: {'yes' if value else 'no'})"
    return f" (default: {value:g})" if isinstance(value, float) else f" (default: {value})"


def _panel(name: str, panels: Mapping[str, str]) -> str:
    return next((panel for panel, names in panels.items() if name in names.split()), _REST)
