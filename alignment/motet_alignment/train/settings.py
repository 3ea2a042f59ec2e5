"""What a training may be asked for: one frozen model a trainer; field descriptions are the options' help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from motet_alignment.errors import TrainError

TrainedKind = Literal["sft", "reward", "dpo", "ppo"]
Share = Annotated[float, Field(ge=0, le=1)]


class AdapterSettings(BaseModel):
    """What every training of an adapter understands, whatever it learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)

    data: tuple[Path, ...] = Field(min_length=1, description="Data files: JSON, JSON lines or Parquet.")
    name: str = Field(default="", description="The adapter's name in the store; the trainer's when left out.")
    model: str = Field(
        default="", description="The base model: a folder or a hub name; the bundled expert when left out."
    )
    revision: str | None = Field(default=None, description="The base model's revision on the hub.")
    start: str | None = Field(
        default=None,
        alias="from",
        description="Go on from this adapter of the store, NAME or NAME@VERSION; DPO and PPO stay close to it.",
    )
    chat_template: Path | None = Field(
        default=None, description="A Jinja file to render with, published along; the base's when left out."
    )

    eval: tuple[Path, ...] = Field(default=(), description="Files to evaluate on; repeat for several.")
    held_out: Share = Field(
        default=0.05, description="Share of the data to evaluate on, where no --eval is given; 0 for none."
    )
    shape: str | None = Field(default=None, description="The files' shape, where it can't be told.")
    on_bad: Literal["refuse", "skip"] = Field(
        default="refuse", description="What to do about lines that can't be used: stop, or leave them out."
    )
    context: int = Field(
        default=0, ge=0, description="Longest conversation in tokens; the model's, at most 2048, when 0."
    )

    rank: int = Field(default=16, ge=1, le=512, description="LoRA rank.")
    alpha: float | None = Field(default=None, gt=0, description="LoRA alpha; twice the rank when left out.")
    target_modules: str = Field(
        default="all-linear", description="Modules that get a LoRA, with commas between, or all-linear."
    )

    learning_rate: float = Field(default=2e-4, gt=0, description="The highest learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How the rate falls after the warm-up."
    )
    warm_up: Share = Field(default=0.05, description="Share of the steps in which the rate rises.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens a process takes at once, padding included; 4096 when left out.",
    )
    gradient_checkpointing: bool | None = Field(
        default=None,
        description="Save memory, cost time; on for models of a billion parameters and more when left out.",
    )

    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="bf16 where the device computes in it, else fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where; a GPU if there is one."
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Same seed, same machine: same weights.")

    folder: Path | None = Field(
        default=None, description="Where checkpoints and metrics go; under $MOTET_HOME/runs when left out."
    )
    resume: bool | None = Field(
        default=None,
        description="Go on where an unfinished run of the same settings stopped (done by itself), or start over.",
    )
    evaluate: tuple[str, ...] = Field(
        default=(), description="Further evaluations at the end, such as gym; repeat for several."
    )

    store: Path | None = Field(
        default=None, description="The adapter store; $MOTET_HOME/adapters when left out."
    )
    publish: bool = Field(default=True, description="Publish the adapter when it is done.")
    promote: bool = Field(default=True, description="Make it the current version of its name.")

    @model_validator(mode="after")
    def _one_evaluation(self) -> Self:
        if self.eval and "held_out" in self.model_fields_set and self.held_out:
            raise ValueError("give --eval or --held-out, not both")
        return self

    @classmethod
    def kind(cls) -> TrainedKind:
        """Which trainer these settings are for."""
        raise NotImplementedError

    @property
    def adapter_name(self) -> str:
        """The adapter's name in the store."""
        return self.name or self.kind()

    def identity(self) -> dict[str, Any]:
        """The options that decide which weights come out, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude=set(_ONLY_AROUND))


class TrainSettings(AdapterSettings):
    """What the trainers that learn from examples understand."""

    phrasing: str | None = Field(
        default=None,
        description="Vary how instructions are put: 'default', or a YAML file with the lists instruction and input.",
    )
    min_answer: int = Field(default=0, ge=0, description="Leave out answers of fewer tokens.")
    max_answer: int | None = Field(default=None, ge=1, description="Leave out answers of more tokens.")
    max_prompt: int | None = Field(default=None, ge=1, description="Leave out prompts of more tokens.")
    copies: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Leave out answers that share this part of their word triples with the prompt.",
    )
    duplicates: bool = Field(default=True, description="Keep what stands word for word before.")
    near_duplicates: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Leave out what shares this part of its word triples with an example before.",
    )

    dropout: float = Field(default=0.0, ge=0, lt=1, description="LoRA dropout.")
    epochs: float = Field(default=3.0, gt=0, description="Passes over the data.")
    steps: int | None = Field(default=None, ge=1, description="Optimizer steps; takes the place of epochs.")
    batch_size: int | None = Field(
        default=None, ge=1, description="Examples a process takes at once; takes the place of --batch-tokens."
    )
    accumulation: int = Field(default=1, ge=1, description="Batches a process takes before each step.")
    log_every: int | None = Field(default=None, ge=1, description="Steps between two lines of metrics.")
    save_every: int | None = Field(default=None, ge=1, description="Steps between two checkpoints.")
    eval_every: int | None = Field(default=None, ge=1, description="Steps between two evaluations.")

    @model_validator(mode="after")
    def _one_batch(self) -> Self:
        if self.batch_size is not None and self.batch_tokens is not None:
            raise ValueError("give --batch-size or --batch-tokens, not both")
        return self


# Where things go and what is shown, which changes no weight.
_ONLY_AROUND = (
    "folder resume log_every save_every eval_every evaluate store publish promote data eval start chat_template "
    "model name"
).split()


class SftSettings(TrainSettings):
    """Supervised fine-tuning: imitate the assistant's turns."""

    packing: bool = Field(
        default=False, description="Put several conversations into one row; each sees only itself."
    )
    pretraining: tuple[Path, ...] = Field(
        default=(), description="Text to mix in so that the model keeps its language; repeat for several."
    )
    mix: Share = Field(
        default=0.9,
        description="With --pretraining: the loss is mix times the examples' plus (1 - mix) times the text's.",
    )

    @classmethod
    def kind(cls) -> TrainedKind:
        """sft."""
        return "sft"


class RewardSettings(TrainSettings):
    """A reward model: a LoRA with a scalar head. The data's kind decides the loss.

    Pairs are trained by Bradley-Terry, rankings by Plackett-Luce, ratings by regression or logistic loss.
    """

    epochs: float = Field(default=1.0, gt=0, description="Passes over the data.")
    centring: float = Field(
        default=0.01, ge=0, description="Weight of the pull of rewards towards zero (pairs and rankings)."
    )
    pointwise: Literal["auto", "regression", "logistic"] = Field(
        default="auto",
        description="How ratings are learnt; logistic where all lie between 0 and 1, else regression.",
    )

    @classmethod
    def kind(cls) -> TrainedKind:
        """reward."""
        return "reward"


class DpoSettings(TrainSettings):
    """Direct preference optimization."""

    epochs: float = Field(default=1.0, gt=0, description="Passes over the data.")
    learning_rate: float = Field(default=5e-5, gt=0, description="The highest learning rate.")
    loss: Literal["sigmoid", "ipo", "robust", "hinge"] = Field(
        default="sigmoid", description="Which DPO loss."
    )
    beta: float = Field(default=0.1, gt=0, description="How closely the reference is kept to.")
    label_smoothing: float = Field(
        default=0.1,
        ge=0,
        lt=0.5,
        description="--loss robust: the share of pairs believed to be the wrong way round.",
    )
    length_normalised: bool = Field(
        default=False, description="Divide an answer's log-probability by its length (ipo always does)."
    )
    confidence: bool = Field(
        default=True,
        description="Pairs with a confidence below 1 are learnt in both directions, weighted by it.",
    )
    reference: Literal["start", "base"] = Field(
        default="start", description="The policy to stay close to: where training starts, or the bare base."
    )

    @classmethod
    def kind(cls) -> TrainedKind:
        """dpo."""
        return "dpo"

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if "label_smoothing" in self.model_fields_set and self.loss != "robust":
            raise ValueError("--label-smoothing belongs to --loss robust")
        return self


def check(settings: AdapterSettings) -> None:
    """Raises TrainError where options fit together badly in a way that only shows with all of them known."""
    if isinstance(settings, SftSettings) and "mix" in settings.model_fields_set and not settings.pretraining:
        raise TrainError("--mix says how much --pretraining counts, and there is no --pretraining")
    if settings.promote and not settings.publish and "promote" in settings.model_fields_set:
        raise TrainError("--promote needs --publish")
