"""Pydantic AI with `openai:` models: the Responses API."""

import os

from pydantic import BaseModel

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
os.environ["OPENAI_API_KEY"] = os.environ["KEY"]

from pydantic_ai import Agent, NativeOutput  # noqa: E402

ASKED: list[str] = []
SETTINGS = {"extra_headers": {"x-user-id": os.environ["USER_ID"]}}
agent = Agent("openai:caller", instructions="Be brief.", model_settings=SETTINGS)


@agent.tool_plain
def get_weather(city: str) -> str:
    """The weather of a city."""
    ASKED.append(city)
    return f"17 degrees in {city}"


result = agent.run_sync("What is the weather in Lisbon?")
assert ASKED == ["Lisbon"], ASKED
assert "17 degrees in Lisbon" in result.output, result.output


class Winner(BaseModel):
    name: str
    points: int


found = Agent("openai:auto", output_type=NativeOutput(Winner)).run_sync("Who won?")
assert isinstance(found.output, Winner), found

plain = Agent("openai:auto")
one = plain.run_sync("My name is Ada.")
two = plain.run_sync("What is my name?", message_history=one.all_messages())
assert two.output.startswith("[sandbox "), two.output
