"""Semantic Kernel: agents of chat completions and of Responses, each with a tool."""

import asyncio
import os

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent, OpenAIResponsesAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function

headers = {"x-user-id": os.environ["USER_ID"]}
client = AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["KEY"], default_headers=headers)


class Weather:
    @kernel_function(description="The weather of a city")
    def get_weather(self, city: str) -> str:
        return f"17 degrees in {city}"


async def main() -> None:
    service = OpenAIChatCompletion(ai_model_id="caller", async_client=client)
    for agent in (
        ChatCompletionAgent(service=service, name="chat", plugins=[Weather()]),
        OpenAIResponsesAgent(ai_model_id="caller", client=client, name="responses", plugins=[Weather()]),
    ):
        answer = await agent.get_response(messages="What is the weather in Lisbon?")
        assert str(answer.message) == "The tool said: 17 degrees in Lisbon", (agent.name, answer.message)
        again = await agent.get_response(messages="And now?", thread=answer.thread)
        assert str(again.message).startswith("The tool said: "), (agent.name, again.message)


asyncio.run(main())
