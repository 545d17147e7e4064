"""LiteLLM: chat, Responses, its bridge from Anthropic's messages to Responses, embeddings, legacy completions."""

import asyncio
import json
import os

import litellm

BASE_URL = os.environ["BASE_URL"]
headers = {"x-user-id": os.environ["USER_ID"]}
common = {"api_base": BASE_URL, "api_key": os.environ["KEY"], "extra_headers": headers}
ask = [{"role": "user", "content": "What is the weather in Lisbon?"}]
parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
function = {"name": "get_weather", "description": "The weather of a city", "parameters": parameters}


def chat() -> None:
    answer = litellm.completion(model="openai/auto", messages=ask, **common)
    assert answer.choices[0].message.content.startswith("[sandbox "), answer
    pieces = litellm.completion(model="openai/auto", messages=ask, stream=True, **common)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces).startswith("[sandbox ")
    tools = [{"type": "function", "function": function}]
    first = litellm.completion(model="openai/caller", messages=ask, tools=tools, **common).choices[0].message
    call = first.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Lisbon"}, call
    result = {"role": "tool", "tool_call_id": call.id, "content": "17 degrees"}
    second = litellm.completion(model="openai/caller", messages=[*ask, first, result], tools=tools, **common)
    assert second.choices[0].message.content == "The tool said: 17 degrees", second


def responses() -> None:
    first = litellm.responses(model="openai/auto", input="My name is Ada.", **common)
    assert first.output[-1].content[0].text.startswith("[sandbox "), first
    second = litellm.responses(model="openai/auto", input="And?", previous_response_id=first.id, **common)
    assert second.output[-1].content[0].text.startswith("[sandbox "), second
    events = list(litellm.responses(model="openai/auto", input="Hello", stream=True, **common))
    assert events[-1].type == "response.completed", events[-1]


async def messages() -> None:
    tools = [{"name": "get_weather", "description": "The weather of a city", "input_schema": parameters}]
    # `openai/` is converted by LiteLLM, to Responses; `anthropic/` is sent as it is.
    for model, base in (("openai/caller", BASE_URL), ("anthropic/caller", BASE_URL.removesuffix("/v1"))):
        asking = {"max_tokens": 256, "model": model, "tools": tools, **common, "api_base": base}
        first = await litellm.anthropic.messages.acreate(messages=ask, **asking)
        call = next(block for block in first["content"] if block["type"] == "tool_use")
        assert call["input"] == {"city": "Lisbon"}, call
        result = [{"type": "tool_result", "tool_use_id": call["id"], "content": "17 degrees"}]
        said = [*ask, {"role": "assistant", "content": [call]}, {"role": "user", "content": result}]
        second = await litellm.anthropic.messages.acreate(messages=said, **asking)
        assert second["content"][-1]["text"] == "The tool said: 17 degrees", second
        stream = await litellm.anthropic.messages.acreate(messages=said, stream=True, **asking)
        whole = b"".join([piece if isinstance(piece, bytes) else str(piece).encode() async for piece in stream])
        assert b"message_stop" in whole, whole


def others() -> None:
    found = litellm.embedding(model="openai/text-embedding-3-small", input=["Hello"], **common)
    assert found.data[0]["embedding"] == [0.25, -0.5, 1.0], found
    legacy = litellm.text_completion(model="text-completion-openai/auto", prompt="Once upon a time", **common)
    assert legacy.choices[0].text.startswith("[sandbox "), legacy


chat()
responses()
asyncio.run(messages())
others()
