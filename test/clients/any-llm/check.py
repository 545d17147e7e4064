"""Mozilla's any-llm: chat completions, Responses, messages and embeddings by its providers."""

import json
import os

from any_llm import completion, embedding, responses

common = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["KEY"]}
named = {"client_args": {"default_headers": {"x-user-id": os.environ["USER_ID"]}}}
ask = [{"role": "user", "content": "What is the weather in Lisbon?"}]
parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"type": "function", "function": {"name": "get_weather", "description": "It", "parameters": parameters}}]

bases = {"openai": common["api_base"], "anthropic": common["api_base"].removesuffix("/v1")}
for provider, base in bases.items():
    at = {**common, **named, "provider": provider, "api_base": base, "messages": ask}
    assert completion(model="auto", **at).choices[0].message.content.startswith("[sandbox "), provider
    pieces = completion(model="auto", stream=True, **at)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices).startswith("[sandbox ")
    (call,) = completion(model="caller", tools=tools, **at).choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Lisbon"}, call
answer = responses(model="auto", provider="openai", input_data="Hello", **common, **named)
assert answer.output_text.startswith("[sandbox "), answer
found = embedding(model="text-embedding-3-small", provider="openai", inputs="Hello", **common)
assert found.data[0].embedding == [0.25, -0.5, 1.0], found
