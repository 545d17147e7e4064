"""Asks the gateway, as any client does: with the OpenAI SDK, which also retries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

import openai
from openai.types import CompletionUsage

USER = "collect"
JUDGE_PROMPT = """You grade an answer to a question. Be strict: the answer must be correct, complete and to the point.

<question>
{question}
</question>
{reference}<answer>
{answer}
</answer>

Reply with a single line: SCORE: followed by a number from 0 (useless) to 10 (perfect)."""


class ClientError(Exception):
    """A candidate that did not answer, after all retries; the message may be shown."""


class FatalClientError(Exception):
    """Nothing can be asked: a wrong key, an unknown candidate, no gateway."""


@dataclass(frozen=True)
class Answer:
    """One answer. `cost_usd` is None if the gateway didn't say."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None


class ChatClient(Protocol):
    """Puts a prompt to an LLM."""

    async def ask(self, model: str, prompt: str) -> Answer:
        """Raises `ClientError` or `FatalClientError`."""


class GatewayClient:
    """The gateway behind `url` (…/v1), or whatever else speaks as OpenAI does."""

    def __init__(
        self,
        url: str,
        key: str,
        max_tokens: int | None = None,
        price: tuple[float, float] | None = None,
        timeout_s: float = 300.0,
    ) -> None:
        """Sends nothing yet. `price`: dollars per million tokens, in and out, where the answer holds no cost."""
        self.client = openai.AsyncOpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=4)
        self.max_tokens = max_tokens
        self.price = price

    async def ask(self, model: str, prompt: str) -> Answer:
        """One answer, in one request. Raises `ClientError`, and `FatalClientError` where asking again is of no use."""
        more: dict[str, Any] = {} if self.max_tokens is None else {"max_completion_tokens": self.max_tokens}
        try:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                extra_headers={"x-user-id": USER},
                **more,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise FatalClientError(f"{model}: {error.status_code}: {_message(error)}") from error
        except openai.APIStatusError as error:
            raise ClientError(f"{error.status_code}: {_message(error)}") from error
        except openai.APIConnectionError as error:
            raise FatalClientError(f"{self.client.base_url}: no answer ({error}); is the gateway running?") from error
        completion = raw.parse()
        if not completion.choices:
            raise ClientError("an answer without choices")
        cost, usage = raw.headers.get("x-router-cost-usd"), completion.usage
        return Answer(
            completion.choices[0].message.content or "",
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            float(cost) if cost else self._by_price(usage),
        )

    def _by_price(self, usage: CompletionUsage | None) -> float | None:
        if self.price is None or usage is None:
            return None
        return (usage.prompt_tokens * self.price[0] + usage.completion_tokens * self.price[1]) / 1e6

    async def models(self) -> list[dict[str, Any]]:
        """Models that the gateway offers this key, with prices and descriptions."""
        try:
            return [model.model_dump() async for model in self.client.models.list()]
        except openai.OpenAIError as error:
            raise FatalClientError(f"{self.client.base_url}models: {error}") from error

    async def close(self) -> None:
        """Lets connections go."""
        await self.client.close()


async def judged(
    client: ChatClient, judge: str, question: str, truth: tuple[str, ...], answer: str
) -> tuple[float, Answer]:
    """Score 0..1 by an LLM, and its reply. Raises `ClientError` where it gives none."""
    reference = f"<reference>\n{truth[0]}\n</reference>\n" if truth else ""
    reply = await client.ask(judge, JUDGE_PROMPT.format(question=question, reference=reference, answer=answer))
    found = re.findall(r"SCORE\W*(\d+(?:\.\d+)?)", reply.text, re.IGNORECASE)
    if not found:
        raise ClientError(f"the judge gave no score: {reply.text[:80]!r}")
    return min(float(found[-1]) / 10, 1.0), reply


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    return str(body.get("message")) if isinstance(body, dict) and "message" in body else error.message
