"""LlamaIndex, which knows OpenAI's names alone: aliases; chat, Responses, a stream; embeddings; its lookalike."""

import asyncio
import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


url = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["KEY"]}
common = {**url, "default_headers": {"x-user-id": os.environ["USER_ID"]}}
for kind in (OpenAI, OpenAIResponses):
    model = kind(**common, model="gpt-4o-mini")
    assert str(model.chat([ChatMessage(role="user", content="Hello")]).message.content).startswith("[sandbox"), kind
    assert "".join(str(chunk.delta) for chunk in model.stream_complete("Hello")).startswith("[sandbox"), kind
# By default it is a model of completions.
assert str(OpenAILike(**common, model="auto").complete("Once upon a time")).startswith("[sandbox ")
assert OpenAIEmbedding(**url).get_text_embedding("Hello") == [0.25, -0.5, 1.0]


async def agent() -> None:
    caller = OpenAILike(**common, model="caller", is_chat_model=True, is_function_calling_model=True)
    answer = await FunctionAgent(tools=[get_weather], llm=caller).run("What is the weather in Lisbon?")
    assert str(answer) == "The tool said: 17 degrees in Lisbon", answer


asyncio.run(agent())
