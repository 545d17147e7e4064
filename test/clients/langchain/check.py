"""LangChain: chat completions and Responses, each with a stream, a structured answer and a tool loop; embeddings."""

import os

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"17 degrees in {city}"


headers = {"x-user-id": os.environ["USER_ID"]}
common = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "default_headers": headers}
for responses in (False, True):
    model = ChatOpenAI(**common, model="auto", use_responses_api=responses)
    assert model.invoke("Hello").text.startswith("[sandbox"), responses
    assert "".join(chunk.text for chunk in model.stream("Hello")).startswith("[sandbox"), responses
    trip = model.with_structured_output(Trip).invoke("Plan a trip to Lisbon.")
    assert isinstance(trip, Trip), trip
    caller = ChatOpenAI(**common, model="caller", use_responses_api=responses)
    messages = {"messages": [{"role": "user", "content": "What is the weather in Lisbon?"}]}
    last = create_agent(caller, tools=[get_weather]).invoke(messages)["messages"][-1]
    assert last.text == "The tool said: 17 degrees in Lisbon", last
following = ChatOpenAI(**common, model="auto", use_previous_response_id=True)
first = following.invoke("My name is Ada.")
assert following.invoke([("user", "My name is Ada."), first, ("user", "And?")]).text.startswith("[sandbox ")
# Its count of tokens would fetch a file.
assert OpenAIEmbeddings(**common, check_embedding_ctx_length=False).embed_query("Hello") == [0.25, -0.5, 1.0]
assert OpenAI(**common, model="auto").invoke("Once upon a time").startswith("[sandbox ")
