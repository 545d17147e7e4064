"""Microsoft's Agent Framework in its default setting: a tool loop by `previous_response_id`."""

import asyncio
import os

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient

ASKED: list[str] = []


def get_weather(city: str) -> str:
    """The weather of a city."""
    ASKED.append(city)
    return f"17 degrees in {city}"


async def main() -> None:
    headers = {"x-user-id": os.environ["USER_ID"]}
    common = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "default_headers": headers}
    client = OpenAIChatClient(model="caller", **common)
    agent = Agent(client=client, instructions="Be brief.", tools=[get_weather])
    answer = await agent.run("What is the weather in Lisbon?")
    assert ASKED == ["Lisbon"], ASKED
    assert "17 degrees in Lisbon" in answer.text, answer.text


asyncio.run(main())
