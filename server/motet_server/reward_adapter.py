"""One version of a reward adapter at work: conversations or texts in, raw rewards out.

The scores come from the engine that generates, one request a conversation, so they are batched with each other and with
everything else that it does. POST /v1/rewards and best-of-N both score through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from motet_decoding.errors import RequestError
from motet_decoding.together import together
from motet_server import rendering_private, vllm_private
from motet_server.adapters.leases import in_template
from motet_server.errors import first_problem
from motet_server.scores import Score, ScoreError, place

if TYPE_CHECKING:
    from motet_server.adapters.entry import Entry
    from motet_server.adapters.service import AdapterService


@dataclass(frozen=True, slots=True)
class RewardAdapter:
    """A version that the engine holds.

    Attributes:
        reference: ``NAME@VERSION``.
        state: the app's.
        client: vLLM's engine client.
        head: the file of its head.
        lora_request: what tells the engine of it.
        template: its own chat template, if it has one.
    """

    reference: str
    state: Any
    client: Any
    head: Path
    lora_request: Any
    template: str | None

    @classmethod
    def of(cls, entry: Entry, service: AdapterService, state: Any, client: Any) -> RewardAdapter:
        """That of an entry of kind ``reward`` which a request keeps loaded."""
        head = service.engine.copies[entry.reference].head_path
        assert head is not None  # it is a reward adapter
        lora_request = service.requests[entry.reference]
        return cls(entry.reference, state, client, head, lora_request, entry.source.chat_template)

    async def render(
        self, conversation: Sequence[Mapping[str, Any]], field: str, *, cut: bool = False
    ) -> Any:
        """A conversation as an engine prompt, by its own chat template where it has one.

        Args:
            conversation: its messages.
            field: where it came from, for the error.
            cut: as in ``rendering_private.render_conversation``.

        Raises:
            RequestError: it can't be rendered, or is too long.
        """
        # The request may be answered by another adapter, in that one's template.
        rendering = rendering_private.render_conversation(self.state, conversation, cut=cut)
        try:
            return await in_template(self.template, rendering)
        except ValidationError as error:
            raise RequestError(field, first_problem(error, {"messages": conversation}).message) from None
        except vllm_private.request_problems() as problem:
            described = vllm_private.describe_problem(problem)
            raise RequestError(field, str(described["message"])) from None

    async def score(self, prompts: Sequence[Any], field: str) -> list[Score]:
        """The rewards of engine prompts, in their order; one that fails ends them all.

        Raises:
            ScoreError: naming the place in ``field`` of one that the engine could not score.
        """
        from motet_decoding.engine.rewards import read_reward, reward_sampling

        name = f"reward-{token_hex(8)}"

        async def score(index: int, prompt: Any) -> Score:
            sampling = reward_sampling(self.head)
            outputs = self.client.generate(
                prompt, sampling, f"{name}-{index}", lora_request=self.lora_request
            )
            (output,) = [each async for each in outputs]  # only the last is told
            try:
                reward = read_reward(output)
            except ValueError as error:
                raise ScoreError(place(field, index), str(error)) from None
            return Score(reward, rendering_private.prompt_tokens(self.state, prompt))

        return await together(score(index, prompt) for index, prompt in enumerate(prompts))
