"""Policy, reference, values and rewards as adapters of one base that is in memory once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from motet_alignment.errors import TrainError
from motet_alignment.store import Adapter
from motet_alignment.train.devices import Place
from motet_alignment.train.models import Base, checkpoints_gradients, load_model, lora_config
from motet_alignment.train.ppo.equations import entropy
from motet_alignment.train.ppo.microbatch import Microbatch
from motet_alignment.train.ppo.settings import PpoSettings
from motet_kernels.token_logprobs import IGNORE_INDEX, token_logprobs

POLICY, REFERENCE, VALUE = "default", "reference", "value"

#: Scores of sequences of tokens, each read at its last one.
Score = Callable[[Sequence[Sequence[int]]], list[float]]

# Tokens whose entropy is computed at once: in float32, a vocabulary's logits of many are larger than all else.
_ENTROPY_TOKENS = 512


class ActorCritic:
    """One base model with several LoRAs, one of them at work at a time.

    What is at work stays so until another is asked for: gradients that are computed anew for the backward pass
    (`--gradient-checkpointing`) must find the adapter that the forward pass had. So call `backward` before the next
    voice is asked.
    """

    def __init__(
        self,
        settings: PpoSettings,
        base: Base,
        place: Place,
        *,
        reference: Adapter | None,
        reward: Adapter | None = None,
    ) -> None:
        """Loads the base, the policy where `base.start` left it, and a frozen `reference` (None: the bare base).

        With `gae` there are values too: a LoRA and a head of their own, which start at the adapter `reward` if one is
        given. Raises TrainError.
        """
        self._place, self._base = place, base
        self._batch_tokens = settings.batch_tokens or 4096
        self.temperature = settings.temperature
        self.model: Any = load_model(settings, base, place).to(place.device)
        self._anew = False
        self._backbone = getattr(self.model.get_base_model(), self.model.get_base_model().base_model_prefix)
        self.reference = None if reference is None else REFERENCE
        if reference is not None:
            self.model.load_adapter(str(reference.path), REFERENCE, is_trainable=False)
        self.head: nn.Linear | None = None
        if settings.estimator == "gae":
            self.head = self._add_values(settings, reward)
        if checkpoints_gradients(settings, self.model):
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self._anew = True
        self._still()
        self.policy_parameters: Mapping[str, nn.Parameter] = self._parameters_of(POLICY)
        self.value_parameters: Mapping[str, nn.Parameter] = {}
        if self.head is not None:
            self.value_parameters = self._parameters_of(VALUE) | {
                f"head.{name}": weight for name, weight in self.head.named_parameters()
            }
        self._at_work(POLICY)

    def _still(self) -> None:
        """To be called whenever an adapter was loaded, which brings its dropout and PEFT's own choice of mode."""
        # Layers compute gradients anew in training mode alone.
        self.model.train(self._anew)
        # The policy that learns must be the one that answered: dropout would make it another.
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            for name, value in vars(module).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(module, name, 0.0)

    def _add_values(self, settings: PpoSettings, reward: Adapter | None) -> nn.Linear:
        size = self.model.get_base_model().config.get_text_config().hidden_size
        head = nn.Linear(size, 1, dtype=torch.float32, device=self._place.device)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        if reward is None:
            self.model.add_adapter(VALUE, lora_config(settings))
        else:
            self.model.load_adapter(str(reward.engine_path), VALUE, is_trainable=True)
            with torch.no_grad():
                head.weight.copy_(_head(reward, size))
        return head

    def _parameters_of(self, adapter: str) -> dict[str, nn.Parameter]:
        # The base may have modules of that name too.
        own = re.compile(rf"\.lora_\w+\.{adapter}(\.|$)")
        found = {name: weight for name, weight in self.model.named_parameters() if own.search(name)}
        for weight in found.values():
            weight.data = weight.data.float()
        return found

    def _at_work(self, adapter: str) -> None:
        if self.model.active_adapter != adapter:
            self.model.set_adapter(adapter, inference_mode=adapter not in (POLICY, VALUE))

    @contextmanager
    def as_policy(self) -> Iterator[Any]:
        """The model with the policy at work, and as one that answers: with a cache."""
        self._at_work(POLICY)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train(self._anew)

    def _autocast(self) -> Any:
        return torch.autocast(
            self._place.device, dtype=torch.bfloat16, enabled=self._place.precision == "bf16"
        )

    def logprobs(self, batch: Microbatch, *, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of the answers' tokens under the policy at its temperature, and its entropy at each.

        Both [rows, answer tokens], in nats, with gradients; 0 where no answer's token is.
        """
        self._at_work(POLICY)
        return self._of(batch, with_entropy)

    def reference_logprobs(self, batch: Microbatch) -> Tensor:
        """Log-probabilities of the answers' tokens under the reference, at the policy's temperature; no gradients."""
        if self.reference is not None:
            self._at_work(self.reference)
        with torch.no_grad(), nullcontext() if self.reference else self.model.disable_adapter():
            return self._of(batch, False)[0]

    def _of(self, batch: Microbatch, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        width = batch.answers.shape[1]
        with self._autocast():
            logits = self.model(**batch.inputs(), use_cache=False, logits_to_keep=width + 1).logits
        # The last row of logits has no target: told so by its label, which is cheaper than a slice's gradient.
        targets = nn.functional.pad(
            batch.answers.masked_fill(~batch.mask, IGNORE_INDEX), (0, 1), value=IGNORE_INDEX
        )
        found = token_logprobs(logits, targets, temperature=self.temperature)[:, :width]
        if not with_entropy:
            return found, None
        # Rows without a token are left out: what a model says behind its end may be anything.
        rows = logits[:, :width][batch.mask].split(_ENTROPY_TOKENS)
        spread = torch.cat([entropy(part, self.temperature) for part in rows])
        return found, torch.zeros_like(found).masked_scatter(batch.mask, spread)

    def values(self, batch: Microbatch) -> Tensor:
        """What the reward is expected to be before each token of the answer [rows, answer tokens], with gradients."""
        if self.head is None:
            raise RuntimeError("this estimator has no values")
        self._at_work(VALUE)
        with self._autocast():
            hidden = self._backbone(**batch.inputs(), use_cache=False).last_hidden_state
        width = batch.answers.shape[1]
        found: Tensor = self.head(hidden[:, -width - 1 : -1].float()).squeeze(-1)
        return found

    def add_reward(self, adapter: Adapter) -> Score:
        """Loads a reward adapter beside the others; raw scores as /v1/rewards gives them."""
        name = f"reward-{adapter.name}-{adapter.version}".replace(".", "_")
        size = self.model.get_base_model().config.get_text_config().hidden_size
        if name not in self.model.peft_config:
            self.model.load_adapter(str(adapter.engine_path), name, is_trainable=False)
            self._still()
        head = _head(adapter, size).to(self._place.device)

        def score(sequences: Sequence[Sequence[int]]) -> list[float]:
            scores = [0.0] * len(sequences)
            order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
            while order:
                width = len(sequences[order[-1]])
                count = max(1, self._batch_tokens // width)
                places, order = order[-count:], order[:-count]
                found = self._scores([sequences[place] for place in places], name, head)
                for place, value in zip(places, found, strict=True):
                    scores[place] = value
            return scores

        return score

    @torch.no_grad()
    def _scores(self, sequences: Sequence[Sequence[int]], name: str, head: Tensor) -> list[float]:
        """Without autocast: close scores must not become equal."""
        self._at_work(name)
        width = max(len(sequence) for sequence in sequences)
        device = self._place.device
        # Padding stands on the right, where a causal model's earlier tokens don't see it.
        ids = torch.tensor(
            [[*sequence, *[0] * (width - len(sequence))] for sequence in sequences], device=device
        )
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
        mask = torch.arange(width, device=device) < lengths[:, None]
        hidden = self._backbone(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
        rows = hidden[torch.arange(len(sequences), device=device), lengths - 1].float()
        scores: list[float] = (rows @ head.T).squeeze(-1).tolist()
        return scores

    def load_policy(self, folder: Path) -> None:
        """The policy as `save_policy` left it there."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(
            self.model, load_file(folder / "adapter_model.safetensors"), adapter_name=POLICY
        )

    def save_policy(self, folder: Path) -> None:
        """The policy as PEFT saves an adapter, with its own chat template where it has one."""
        self.model.save_pretrained(str(folder), selected_adapters=[POLICY])
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's card of blanks
        if self._base.template is not None:
            (folder / "chat_template.jinja").write_text(self._base.template, "utf-8")


def _head(reward: Adapter, size: int) -> Tensor:
    """A reward adapter's head [1, hidden]. Raises TrainError where it doesn't fit."""
    if reward.head_path is None:
        raise TrainError(f"{reward.reference} is a {reward.kind} adapter; rewards need one of kind reward")
    head = load_file(reward.head_path)["score.weight"].float()
    if tuple(head.shape) != (1, size):
        raise TrainError(f"{reward.reference}: its head is {tuple(head.shape)}, the base needs {(1, size)}")
    return head
