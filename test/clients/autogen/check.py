"""AutoGen, which checks names itself: an alias; an assistant with a tool, and a stream."""

import asyncio
import os

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ModelInfo, UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

common = {
    "base_url": os.environ["BASE_URL"],
    "api_key": os.environ["KEY"],
    "default_headers": {"x-user-id": os.environ["USER_ID"]},
}
info = ModelInfo(vision=False, function_calling=True, json_output=True, structured_output=True, family="unknown")


async def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


async def main() -> None:
    client = OpenAIChatCompletionClient(model="gpt-4o-mini", **common)
    answer = await client.create([UserMessage(content="Hello", source="user")])
    assert str(answer.content).startswith("[sandbox "), answer
    pieces = [piece async for piece in client.create_stream([UserMessage(content="Hello", source="user")])]
    assert pieces[-1].content == "".join(piece for piece in pieces[:-1]), pieces
    caller = OpenAIChatCompletionClient(model="caller", model_info=info, **common)
    agent = AssistantAgent("weather", model_client=caller, tools=[get_weather], reflect_on_tool_use=True)
    result = await agent.run(task="What is the weather in Lisbon?")
    assert result.messages[-1].content == "The tool said: 17 degrees in Lisbon", result


asyncio.run(main())
