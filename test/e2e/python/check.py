"""The official Python SDK against a running gateway, unmodified but for base_url and a header.

Usage: python check.py BASE_URL KEY SCRIPTED_KEY, as ../openai-python.test.ts calls it.
Prints the name of each check as it passes; the first that does not ends it with a traceback and status 1.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

BASE_URL, KEY, SCRIPTED_KEY = sys.argv[1:]
client = OpenAI(base_url=BASE_URL, api_key=KEY, default_headers={"x-user-id": "py"})
scripted = OpenAI(base_url=BASE_URL, api_key=SCRIPTED_KEY)
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="  # noqa: E501

CHECKS: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


def ask(content: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": content}]


def tool(name: str) -> ChatCompletionToolParam:
    parameters: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("get_weather"), tool("get_time")]


def raises(kind: type[openai.APIError], function: Callable[[], Any]) -> Any:
    try:
        function()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


@check
def plain() -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=ask("What is 12 * 7?"))
    completion = raw.parse()
    content = completion.choices[0].message.content
    assert content is not None
    assert content.startswith("[sandbox "), content
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0
    assert completion.model == raw.headers["x-router-model"]
    assert raw.headers["x-request-id"] == completion._request_id
    assert raw.headers["x-router-reason"].split(";")[0] in {"cold_start", "explore"}


@check
def stream_without_usage() -> None:
    chunks = list(client.chat.completions.create(model="auto", messages=ask("What is 12 * 7?"), stream=True))
    assert len(chunks) > 3
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith("[sandbox ")


@check
def stream_with_usage() -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="auto", messages=ask("Hi"), stream=True, stream_options=options)  # type: ignore[call-overload]
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


@check
def tools_loop() -> None:
    messages = ask("What are the weather and the time in Paris?")
    first = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS, tool_choice="required")
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    calls = [call for call in message.tool_calls if call.type == "function"]
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments) == {"city": "sandbox"}
    messages.append(message.to_dict())  # type: ignore[arg-type]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "21 degrees"} for call in calls]
    second = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS)
    assert "21 degrees" in (second.choices[0].message.content or "")
    assert second.model == first.model


@check
def streamed_tool_calls() -> None:
    with client.chat.completions.stream(
        model="auto", messages=ask("What is the weather in Rome?"), tools=TOOLS, tool_choice="required"
    ) as stream:
        for _ in stream:
            pass
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"city": "sandbox"}


class Mode(StrEnum):
    train = "train"
    plane = "plane"


class Trip(BaseModel):
    city: str
    days: int
    mode: Mode
    stops: list[str]


@check
def structured_output() -> None:
    completion = client.chat.completions.parse(model="auto", messages=ask("Plan a trip."), response_format=Trip)
    trip = completion.choices[0].message.parsed
    assert trip is not None
    assert trip.mode is Mode.train


@check
def vision() -> None:
    content: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    completion = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": content}])
    assert (completion.choices[0].message.content or "").startswith("[sandbox ")


@check
def choices_and_stop() -> None:
    assert len(client.chat.completions.create(model="auto", messages=ask("Hi"), n=3).choices) == 3
    stopped = client.chat.completions.create(
        model="sandbox-thorough", messages=ask("Name a river."), stop="What I took"
    )
    assert "What I took" not in (stopped.choices[0].message.content or "")


@check
def models() -> None:
    ids = [model.id for model in client.models.list()]
    assert ids[0] == "auto"
    assert "sandbox-terse" in ids, ids
    assert client.models.retrieve("sandbox-terse").id == "sandbox-terse"


@check
def feedback() -> None:
    completion = client.chat.completions.create(model="auto", messages=ask("Hi"))
    body = {"completion_id": completion.id, "rating": "up"}
    accepted = client.post("/feedback", cast_to=object, body=body)
    assert isinstance(accepted, dict)
    assert accepted["status"] == "accepted", accepted


@check
def errors() -> None:
    bad = raises(openai.BadRequestError, lambda: client.chat.completions.create(model="auto", messages=[]))
    assert bad.param == "messages"
    assert bad.request_id.startswith("req_")
    unknown = raises(openai.NotFoundError, lambda: client.chat.completions.create(model="nope", messages=ask("Hi")))
    assert unknown.code == "model_not_found"
    stranger = OpenAI(base_url=BASE_URL, api_key="pr-nobody-gave-me-this-key")
    assert raises(openai.AuthenticationError, lambda: stranger.models.list()).code == "invalid_api_key"
    limited = raises(
        openai.RateLimitError, lambda: scripted.chat.completions.create(model="limited", messages=ask("Hi"))
    )
    assert limited.code == "rate_limit_exceeded"


@check
def a_stream_that_breaks_raises() -> None:
    text = ""
    try:
        for chunk in scripted.chat.completions.create(model="breaking", messages=ask("Hi"), stream=True):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError:
        assert text == "Hel", text
        return
    raise AssertionError("nothing was raised")


@check
def an_abort() -> None:
    stream = scripted.chat.completions.create(model="endless", messages=ask("Hi"), stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    stream.close()


@check
def asynchronous() -> None:
    async def main() -> None:
        async with AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as aclient:
            answers = await asyncio.gather(
                *(
                    aclient.chat.completions.create(
                        model="auto", messages=ask(f"What is {i} + 1?"), extra_headers={"x-user-id": f"py-{i}"}
                    )
                    for i in range(8)
                )
            )
            assert all((answer.choices[0].message.content or "").startswith("[sandbox ") for answer in answers)
            stream = await aclient.chat.completions.create(model="auto", messages=ask("Hi"), stream=True)
            assert len([chunk async for chunk in stream]) > 2

    asyncio.run(main())


if __name__ == "__main__":
    for function in CHECKS:
        function()
        print(function.__name__, flush=True)
