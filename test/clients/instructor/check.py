"""Instructor: a model by tools, by JSON schema, by Responses, and as it comes."""

import os

import instructor
from openai import OpenAI
from pydantic import BaseModel


class Trip(BaseModel):
    city: str
    days: int


headers = {"x-user-id": os.environ["USER_ID"]}
client = OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["KEY"], default_headers=headers)
ask = [{"role": "user", "content": "Plan a trip to Lisbon."}]
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.RESPONSES_TOOLS):
    patched = instructor.from_openai(client, mode=mode)
    trip = patched.create(model="auto", messages=ask, response_model=Trip)
    assert isinstance(trip, Trip), (mode, trip)
    if mode is not instructor.Mode.RESPONSES_TOOLS:
        *_, last = patched.create_partial(model="auto", messages=ask, response_model=Trip)
        assert Trip(**last.model_dump()), (mode, last)
