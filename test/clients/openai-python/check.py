"""OpenAI's own SDK: every endpoint of it that the gateway serves, plain, streamed, parsed, and in a tool loop."""

import asyncio
import json
import os

from openai import AsyncOpenAI, NotFoundError, OpenAI
from pydantic import BaseModel

USER = os.environ["USER_ID"]
common = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "default_headers": {"x-user-id": USER}}
client = OpenAI(**common, max_retries=0)
ask = [{"role": "user", "content": "What is the weather in Lisbon?"}]
parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
function = {"name": "get_weather", "description": "The weather of a city", "parameters": parameters}


class Trip(BaseModel):
    city: str
    days: int


def chat() -> None:
    completion = client.chat.completions.create(model="auto", messages=ask)
    assert completion.choices[0].message.content.startswith("[sandbox "), completion
    with client.chat.completions.stream(model="auto", messages=ask) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        assert text == stream.get_final_completion().choices[0].message.content
    parsed = client.chat.completions.parse(model="auto", messages=ask, response_format=Trip)
    assert isinstance(parsed.choices[0].message.parsed, Trip), parsed
    tools = [{"type": "function", "function": function}]
    first = client.chat.completions.create(model="caller", messages=ask, tools=tools).choices[0].message
    call = first.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Lisbon"}, call
    result = {"role": "tool", "tool_call_id": call.id, "content": "17 degrees"}
    second = client.chat.completions.create(model="caller", messages=[*ask, first, result], tools=tools)
    assert second.choices[0].message.content == "The tool said: 17 degrees", second


def responses() -> None:
    response = client.responses.create(model="auto", input="My name is Ada.", instructions="Be brief.")
    assert response.output_text.startswith("[sandbox "), response
    following = client.responses.create(model="auto", input="What is it?", previous_response_id=response.id)
    assert following.previous_response_id == response.id
    assert client.responses.retrieve(response.id).output_text == response.output_text
    assert client.responses.input_items.list(response.id).data[0].content[0].text == "My name is Ada."
    with client.responses.stream(model="auto", input="Hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text
    parsed = client.responses.parse(model="auto", input="Plan a trip.", text_format=Trip)
    assert isinstance(parsed.output_parsed, Trip), parsed
    tools = [{"type": "function", **function}]
    with client.responses.stream(model="caller", input=ask, tools=tools) as stream:
        first = stream.until_done().get_final_response()
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Lisbon"}, call
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "17 degrees"}
    by_id = client.responses.create(model="caller", input=[result], previous_response_id=first.id, tools=tools)
    assert by_id.output_text == "The tool said: 17 degrees", by_id
    whole = client.responses.create(model="caller", input=[*ask, *first.output, result], tools=tools, store=False)
    assert whole.output_text == by_id.output_text, whole
    client.responses.delete(response.id)
    try:
        client.responses.retrieve(response.id)
        raise AssertionError("a response that was deleted is there")
    except NotFoundError:
        pass


def others() -> None:
    several = client.embeddings.create(model="text-embedding-3-small", input=["Hello", "you"])
    assert [one.embedding for one in several.data] == [[0.25, -0.5, 1.0]] * 2, several
    completion = client.completions.create(model="auto", prompt="Once upon a time")
    assert completion.choices[0].text.startswith("[sandbox "), completion
    pieces = list(client.completions.create(model="auto", prompt="Once upon a time", stream=True))
    assert "".join(piece.choices[0].text for piece in pieces).startswith("[sandbox "), pieces
    assert "auto" in [model.id for model in client.models.list()]


def feedback() -> None:
    for id in (
        client.chat.completions.create(model="auto", messages=ask).id,
        client.responses.create(model="auto", input="Hello").id,
    ):
        client.post("/feedback", body={"completion_id": id, "rating": "up"}, cast_to=object)


async def several_at_once() -> None:
    async with AsyncOpenAI(**common) as parallel:
        asking = (parallel.responses.create(model="auto", input=f"Question {n}") for n in range(8))
        found = await asyncio.gather(*asking)
    assert len({response.id for response in found}) == 8


chat()
responses()
others()
feedback()
asyncio.run(several_at_once())
