"""Strands: its agent on chat completions and on Responses, with a tool."""

import os

from strands import Agent, tool
from strands.models.openai import OpenAIModel
from strands.models.openai_responses import OpenAIResponsesModel

headers = {"x-user-id": os.environ["USER_ID"]}
client = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "default_headers": headers}


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


for kind in (OpenAIModel, OpenAIResponsesModel):
    agent = Agent(model=kind(client_args=client, model_id="caller"), tools=[get_weather], callback_handler=None)
    answer = str(agent("What is the weather in Lisbon?")).strip()
    assert answer == "The tool said: 17 degrees in Lisbon", (kind, answer)
    assert str(agent("And now?")).startswith("The tool said: "), kind
