"""What the official Python SDK makes of streams that are cut, for ../../security/framing.test.ts.

Usage: python framing.py
Reads a line `BASE_URL USAGE` for each request, and answers it with a line of JSON: what was said, the finish reason,
and the class of the error that was raised, or null.
"""

import json
import sys

import openai
from openai import OpenAI

clients: dict[str, OpenAI] = {}
for line in sys.stdin:
    base_url, usage = line.split()
    client = clients.get(base_url) or OpenAI(base_url=base_url, api_key="client-key", max_retries=0)
    clients[base_url] = client
    said, finish, error = "", None, None
    try:
        stream = client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True} if usage == "yes" else openai.NOT_GIVEN,
        )
        for chunk in stream:
            for choice in chunk.choices:
                said += choice.delta.content or ""
                for call in choice.delta.tool_calls or []:
                    if call.function:
                        said += (call.function.name or "") + (call.function.arguments or "")
                if choice.finish_reason not in (None, "", "null"):
                    finish = choice.finish_reason
    except openai.APIError:
        error = "APIError"
    except Exception as raised:  # noqa: BLE001
        error = type(raised).__name__
    print(json.dumps({"said": said, "finish": finish, "error": error}), flush=True)
