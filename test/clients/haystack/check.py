"""Haystack: its generators of chat completions and Responses, an agent with a tool, an embedder."""

import os

os.environ["OPENAI_API_KEY"] = os.environ["KEY"]
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from haystack.components.agents import Agent  # noqa: E402
from haystack.components.embedders import OpenAITextEmbedder  # noqa: E402
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator  # noqa: E402
from haystack.dataclasses import ChatMessage  # noqa: E402
from haystack.tools import create_tool_from_function  # noqa: E402

url = {"api_base_url": os.environ["BASE_URL"]}
named = {"extra_headers": {"x-user-id": os.environ["USER_ID"]}}


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


for kind in (OpenAIChatGenerator, OpenAIResponsesChatGenerator):
    pieces: list[str] = []
    common = {**url, "generation_kwargs": named}
    for streaming in (None, lambda chunk: pieces.append(chunk.content)):
        generator = kind(model="auto", streaming_callback=streaming, **common)
        (reply,) = generator.run([ChatMessage.from_user("Hello")])["replies"]
        assert reply.text.startswith("[sandbox "), (kind, reply)
    assert "".join(pieces) == reply.text, pieces
    agent = Agent(chat_generator=kind(model="caller", **common), tools=[create_tool_from_function(get_weather)])
    last = agent.run([ChatMessage.from_user("What is the weather in Lisbon?")])["messages"][-1]
    assert last.text == "The tool said: 17 degrees in Lisbon", (kind, last)
assert OpenAITextEmbedder(**url).run("Hello")["embedding"] == [0.25, -0.5, 1.0]
