"""CrewAI: its model by a name of OpenAI's and an alias, and a crew of one with a tool."""

import os

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["OTEL_SDK_DISABLED"] = "true"

from crewai import LLM, Agent, Crew, Task  # noqa: E402
from crewai.tools import tool  # noqa: E402

headers = {"x-user-id": os.environ["USER_ID"]}
common = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "default_headers": headers}


@tool("get_weather")
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


assert str(LLM(model="openai/gpt-4o-mini", **common).call("Hello")).startswith("[sandbox ")
model = LLM(model="caller", provider="openai", **common)
agent = Agent(role="Weather", goal="Tell it", backstory="Brief", llm=model, tools=[get_weather])
task = Task(description="What is the weather in Lisbon?", expected_output="One sentence", agent=agent)
result = Crew(agents=[agent], tasks=[task]).kickoff().raw
assert result == "The tool said: 17 degrees in Lisbon", result
