"""LangChain: chat completions, Responses, a stream, structured output."""

import os

from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


common = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "model": "auto"}
for responses in (False, True):
    model = ChatOpenAI(**common, use_responses_api=responses)
    assert model.invoke("Hello").text.startswith("[sandbox"), responses
    assert "".join(chunk.text for chunk in model.stream("Hello")).startswith("[sandbox"), responses
    trip = model.with_structured_output(Trip).invoke("Plan a trip to Lisbon.")
    assert isinstance(trip, Trip), trip
