"""OpenAI's agents in their default setting: the Responses API."""

import asyncio
import os

from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent

set_tracing_disabled(True)
HEADERS = {"x-user-id": os.environ["USER_ID"]}
set_default_openai_client(
    AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["KEY"], default_headers=HEADERS)
)

ASKED: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    ASKED.append(city)
    return f"17 degrees in {city}"


async def main() -> None:
    agent = Agent(name="Weather", instructions="Be brief.", model="caller", tools=[get_weather])
    first = await Runner.run(agent, "What is the weather in Lisbon?")
    assert ASKED == ["Lisbon"], ASKED
    assert "17 degrees in Lisbon" in first.final_output, first.final_output

    plain = Agent(name="Plain", instructions="Be brief.", model="auto")
    one = await Runner.run(plain, "My name is Ada.")
    again = [*one.to_input_list(), {"role": "user", "content": "What is my name?"}]
    two = await Runner.run(plain, again)
    assert two.final_output.startswith("[sandbox "), two.final_output
    three = await Runner.run(plain, "And now?", previous_response_id=two.last_response_id)
    assert three.final_output.startswith("[sandbox "), three.final_output

    stream = Runner.run_streamed(plain, "Hello")
    text = ""
    async for event in stream.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            text += event.data.delta
    assert text == stream.final_output, (text, stream.final_output)


asyncio.run(main())
