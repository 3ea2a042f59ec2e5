"""Strengths that follow the answer: how much of a contrast's strength a token gets, as a request asks for it.

Each is a factor from 0 to 1 on ``strength``, so ``strength`` stays the most that any token gets.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: The largest ``scale``, in nats or bits.
MAX_SCALE = 100.0

#: The longest schedule, in tokens.
MAX_SCHEDULE = 1_000_000

_Scale = Annotated[float, Field(gt=0.0, le=MAX_SCALE, allow_inf_nan=False)]
_Factor = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class ByEntropy(BaseModel):
    """``min(1, H(p_e) / scale)``: where the expert is sure it is left alone (after DeCoRe, arXiv 2410.18860)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: Literal["entropy"]
    scale: Annotated[
        _Scale, Field(description="The expert's entropy, in nats, at which strength is full.")
    ] = 1.0


class ByDivergence(BaseModel):
    """``min(1, JSD(p_e, p_a) / scale)``: where the voices agree there is nothing to add (AdaCAD, arXiv 2409.07394)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: Literal["divergence"]
    scale: Annotated[
        _Scale,
        Field(
            description="The Jensen-Shannon divergence between the voices, in bits, at which strength is full; of "
            "several voices their mean by the size of their weights counts."
        ),
    ] = 1.0


class ByPosition(BaseModel):
    """A schedule over the answer's tokens: from ``start`` to ``end`` in ``tokens`` steps, then ``end``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: Literal["position"]
    tokens: Annotated[
        int, Field(ge=1, le=MAX_SCHEDULE, description="The token at which the schedule has come to its end.")
    ]
    start: Annotated[_Factor, Field(description="The first token's share of the strength.")] = 1.0
    end: Annotated[_Factor, Field(description="The share from token number `tokens` on.")] = 0.0
    shape: Annotated[
        Literal["linear", "cosine", "step"], Field(description="How it gets from one to the other.")
    ] = "linear"


Adapt = Annotated[ByEntropy | ByDivergence | ByPosition, Field(discriminator="by")]
