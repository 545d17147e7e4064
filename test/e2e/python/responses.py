"""The official Python SDK's Responses API against a running gateway, unmodified but for base_url and a header.

Usage: python responses.py BASE_URL KEY SCRIPTED_KEY, as ../openai-python.test.ts calls it.
Prints the name of each check as it passes; the first that does not ends it with a traceback and status 1.
"""

import asyncio
import json
import sys
from collections.abc import Callable

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

BASE_URL, KEY, SCRIPTED_KEY = sys.argv[1:]
client = OpenAI(base_url=BASE_URL, api_key=KEY, default_headers={"x-user-id": "py"})
scripted = OpenAI(base_url=BASE_URL, api_key=SCRIPTED_KEY, max_retries=0)

CHECKS: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS.append(function)
    return function


TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


@check
def create() -> None:
    response = client.responses.create(model="auto", input="What is 12 * 7?")
    assert response.output_text.startswith("[sandbox "), response.output_text
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.output_tokens > 0


@check
def stream_of_events() -> None:
    types = [event.type for event in client.responses.create(model="auto", input="Hello", stream=True)]
    assert types[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ], types
    assert types[-1] == "response.completed", types


@check
def stream_helper() -> None:
    with client.responses.stream(model="auto", input="Hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


@check
def parse() -> None:
    class Result(BaseModel):
        winner: str
        points: int

    response = client.responses.parse(model="auto", input="Who won?", text_format=Result)
    assert isinstance(response.output_parsed, Result), response


@check
def tool_loop() -> None:
    first = client.responses.create(
        model="auto", input="What is the weather in Lisbon?", tools=[TOOL], tool_choice="required"
    )
    call = first.output[-1]
    assert call.type == "function_call", call
    assert list(json.loads(call.arguments)) == ["city"]
    second = client.responses.create(
        model="auto",
        tools=[TOOL],
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "17 degrees"}],
    )
    assert "17 degrees" in second.output_text, second.output_text
    assert second.model == first.model


@check
def kept_and_deleted() -> None:
    response = client.responses.create(model="auto", input="Keep this.")
    assert client.responses.retrieve(response.id).output_text == response.output_text
    items = list(client.responses.input_items.list(response.id))
    assert len(items) == 1, items
    client.post("/feedback", body={"completion_id": response.id, "rating": "up"}, cast_to=object)
    client.responses.delete(response.id)
    try:
        client.responses.retrieve(response.id)
    except openai.NotFoundError:
        return
    raise AssertionError("a deleted response was found")


@check
def unknown_previous_response() -> None:
    try:
        client.responses.create(model="auto", input="x", previous_response_id="resp_none")
    except openai.BadRequestError as error:
        assert error.code == "previous_response_not_found", error
        return
    raise AssertionError("a response went on from nothing")


@check
def a_stream_that_breaks_raises() -> None:
    text = ""
    try:
        for event in scripted.responses.create(model="breaking", input="x", stream=True):
            if event.type == "response.output_text.delta":
                text += event.delta
    except openai.APIError:
        assert text == "Hel", text
        return
    raise AssertionError("a broken stream ended quietly")


@check
def an_abort() -> None:
    stream = scripted.responses.create(model="endless", input="x", stream=True)
    assert next(iter(stream)).type == "response.created"
    stream.close()


@check
def asynchronous() -> None:
    async def main() -> None:
        async with AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as both:
            answers = await asyncio.gather(*(both.responses.create(model="auto", input=f"{i}") for i in range(4)))
            assert len({answer.id for answer in answers}) == 4

    asyncio.run(main())


if __name__ == "__main__":
    for one in CHECKS:
        one()
        print(one.__name__)
