"""Smolagents: a model, its stream, and an agent that calls a tool."""

import os

from smolagents import ChatMessage, MessageRole, OpenAIModel, tool

client = {"default_headers": {"x-user-id": os.environ["USER_ID"]}}
common = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "client_kwargs": client}


@tool
def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: Its name.
    """
    return f"17 degrees in {city}"


ask = [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": "What is the weather in Lisbon?"}])]
model = OpenAIModel(model_id="auto", **common)
assert model.generate(ask).content.startswith("[sandbox ")
assert "".join(piece.content or "" for piece in model.generate_stream(ask)).startswith("[sandbox ")
called = OpenAIModel(model_id="caller", **common).generate(ask, tools_to_call_from=[get_weather])
(call,) = called.tool_calls
assert call.function.name == "get_weather", call
