"""Agno: `openai:` names are the Responses API; a tool loop, a stream, a structured answer."""

import os

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
os.environ["OPENAI_API_KEY"] = os.environ["KEY"]

from agno.agent import Agent  # noqa: E402
from agno.models.openai import OpenAIChat, OpenAIResponses  # noqa: E402
from pydantic import BaseModel  # noqa: E402

HEADERS = {"x-user-id": os.environ["USER_ID"]}
ASKED: list[str] = []


def get_weather(city: str) -> str:
    """The weather of a city."""
    ASKED.append(city)
    return f"17 degrees in {city}"


class Trip(BaseModel):
    city: str
    days: int


assert str(Agent(model="openai:gpt-5-mini").run("Hello").content).startswith("[sandbox ")
for kind in (OpenAIResponses, OpenAIChat):
    ASKED.clear()
    agent = Agent(model=kind(id="caller", default_headers=HEADERS), tools=[get_weather])
    answer = str(agent.run("What is the weather in Lisbon?").content)
    assert answer == "The tool said: 17 degrees in Lisbon", answer
    pieces = [str(event.content or "") for event in agent.run("And now?", stream=True) if event.event == "RunContent"]
    assert "".join(pieces).startswith("The tool said: "), pieces
    assert ASKED == ["Lisbon", "Lisbon"], ASKED
    trip = Agent(model=kind(id="auto", default_headers=HEADERS), output_schema=Trip).run("Plan a trip.").content
    assert isinstance(trip, Trip), trip
