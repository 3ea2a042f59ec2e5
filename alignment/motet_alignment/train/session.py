"""What every training does around its steps: holding the run's folder, saying what went wrong, publishing."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motet_alignment.errors import TrainError
from motet_alignment.store import Adapter, AdapterStore, default_store
from motet_alignment.train.checkpoints import run_folder
from motet_alignment.train.devices import Place
from motet_alignment.train.estimates import Estimate, as_json
from motet_alignment.train.models import Base, first_line
from motet_alignment.train.settings import AdapterSettings, TrainSettings

RESULT = "result.json"
ADAPTER = "adapter"
BATCH_TOKENS = 4096
# What an adapter that is gone on with brings itself.
_OF_THE_START = ("rank", "alpha", "dropout", "target_modules")


@dataclass(frozen=True)
class Trained:
    """What came out: the published adapter (None where it wasn't published), the run's folder, and the metrics."""

    adapter: Adapter | None
    folder: Path
    metrics: Mapping[str, Estimate | float | int | str] = field(default_factory=dict)


def publish(
    settings: AdapterSettings,
    base: Base,
    place: Place,
    folder: Path,
    *,
    metrics: Mapping[str, Estimate | float | int | str],
    data: Sequence[Mapping[str, Any]],
    parents: Sequence[str] = (),
    also: Mapping[str, Any] | None = None,
) -> Adapter:
    """Publishes the adapter that PEFT saved in `folder`, with the settings and `also` what its manifest tells."""
    return AdapterStore(settings.store or default_store()).publish(
        folder,
        name=settings.adapter_name,
        kind=settings.kind(),
        base=base.fingerprint,
        base_folder=base.folder,
        parents=parents or (() if base.start is None else (base.start.reference,)),
        data=data,
        settings=settings.model_dump(
            mode="json",
            by_alias=True,
            exclude={
                "data",
                "folder",
                "store",
                "resume",
                "api_key",
                "url",
                *(_OF_THE_START if base.start else ()),
            },
        )
        | {"precision": place.precision, "device": place.device, "processes": place.processes}
        | dict(also or {}),
        metrics=as_json(metrics),
        promote=settings.promote,
    )


def identity_of(settings: AdapterSettings, base: Base, place: Place) -> dict[str, Any]:
    """What decides the weights of every training, as JSON, beside what it learns from."""
    return {
        "trainer": settings.kind(),
        **settings.identity(),
        "precision": place.precision,
        "device": place.device,
        "processes": place.processes,
        "context": base.context,
        "base": base.fingerprint.weights,
        "tokenizer": base.fingerprint.tokenizer,
        "chat_template": base.template if base.template is not None else base.fingerprint.chat_template,
        "from": None if base.start is None else base.start.reference,
    }


def default_folder(settings: AdapterSettings, identity: Mapping[str, Any]) -> Path:
    """Where a run of these settings has its checkpoints and metrics: a folder of its own."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return default_store().parent / "runs" / f"{settings.adapter_name}-{settings.kind()}-{digest[:8]}"


@contextmanager
def held(
    folder: Path, identity: Mapping[str, Any], settings: AdapterSettings, place: Place
) -> Iterator[Path | None]:
    """The run folder, the leading process first: others must find it as that one left it."""
    from accelerate import PartialState

    together = PartialState(cpu=place.device == "cpu") if place.processes > 1 else None
    if together is not None and not place.leads:
        together.wait_for_everyone()
    with run_folder(folder, identity, settings.resume, leads=place.leads) as checkpoint:
        if together is not None and place.leads:
            together.wait_for_everyone()
        yield checkpoint


@contextmanager
def troubles(settings: AdapterSettings, folder: Path) -> Iterator[None]:
    """What the machine runs out of, in words."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as problem:
        raise _out_of_memory(settings, problem) from None
    except RuntimeError as problem:
        # torch's CPU allocator, cuBLAS and torch's file writer have no exceptions of their own.
        if any(said in str(problem) for said in ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")):
            raise _out_of_memory(settings, problem) from None
        if "PytorchStreamWriter failed" not in str(problem):
            raise
        raise TrainError(f"{folder} can't be written: {first_line(problem)}; is the disk full?") from None
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise TrainError(f"{problem.filename or folder} can't be written: {problem.strerror}") from None


def _out_of_memory(settings: AdapterSettings, problem: BaseException) -> TrainError:
    taken = (
        f"--batch-size {settings.batch_size}"
        if isinstance(settings, TrainSettings) and settings.batch_size is not None
        else f"--batch-tokens {settings.batch_tokens or BATCH_TOKENS}"
    )
    more = " (and raise --accumulation)" if isinstance(settings, TrainSettings) else ""
    return TrainError(
        f"out of memory; lower {taken}{more}, lower --context, or take "
        f"--gradient-checkpointing. {first_line(problem).partition('. ')[0]}"
    )
