"""Anthropic's own SDK: a message, a stream, a tool loop, counting, an error."""

import os

from anthropic import Anthropic, NotFoundError

client = Anthropic(base_url=os.environ["BASE_URL"], api_key=os.environ["KEY"], max_retries=0)
ask = [{"role": "user", "content": "What is the capital of France?"}]

who = {"user_id": os.environ["USER_ID"]}
message = client.messages.create(model="claude-opus-5", max_tokens=256, messages=ask, metadata=who)
assert message.content[0].text.startswith("[sandbox"), message
with client.messages.stream(model="auto", max_tokens=256, messages=ask) as stream:
    assert "".join(stream.text_stream).startswith("[sandbox")
    assert stream.get_final_message().stop_reason == "end_turn"
tool = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
first = client.messages.create(
    model="auto", max_tokens=256, messages=ask, tools=[tool], tool_choice={"type": "any"}
)
call = first.content[-1]
assert first.stop_reason == "tool_use" and call.name == "weather"
result = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
second = client.messages.create(
    model="auto",
    max_tokens=256,
    tools=[tool],
    messages=[*ask, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}],
)
assert second.stop_reason == "end_turn" and second.model == first.model
assert client.messages.count_tokens(model="auto", messages=ask).input_tokens > 0
try:
    client.messages.create(model="none", max_tokens=1, messages=ask)
    raise AssertionError("an unknown model was answered")
except NotFoundError:
    pass
