"""What the official Python SDKs make of streams that are cut, for ../../security/framing.test.ts.

Usage: python framing.py
Reads a line `BASE_URL USAGE ENDPOINT QUESTION` for each request (`chat`, `responses`, or `messages`, which wants
Anthropic's SDK installed), and answers it with a line of JSON, as they end: the question, and what was seen, which is what was said, the
finish reason, and the class of the error that was raised, or null.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import openai
from openai import OpenAI

AT_ONCE = 4
clients: dict[tuple[str, str], object] = {}


def client_of(base_url, endpoint):
    """The SDK for an endpoint, one a gateway."""
    if endpoint == "messages":
        from anthropic import Anthropic

        return Anthropic(base_url=base_url.removesuffix("/v1"), api_key="client-key", max_retries=0)
    return OpenAI(base_url=base_url, api_key="client-key", max_retries=0)


def read_chat(client, question, usage, seen):
    """Chat completions."""
    options = {"include_usage": True} if usage == "yes" else openai.NOT_GIVEN
    messages = [{"role": "user", "content": question}]
    for chunk in client.chat.completions.create(model="auto", messages=messages, stream=True, stream_options=options):
        for choice in chunk.choices:
            seen["said"] += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                if call.function:
                    seen["said"] += (call.function.name or "") + (call.function.arguments or "")
            if choice.finish_reason not in (None, "", "null"):
                seen["finish"] = choice.finish_reason


def read_responses(client, question, _usage, seen):
    """Responses."""
    for event in client.responses.create(model="auto", input=question, store=False, stream=True):
        if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
            seen["said"] += event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            seen["finish"] = event.type
        elif event.type == "response.failed":
            seen["error"] = event.type


def read_messages(client, question, _usage, seen):
    """Messages."""
    reason = None
    messages = [{"role": "user", "content": question}]
    for event in client.messages.create(model="auto", max_tokens=99, messages=messages, stream=True):
        if event.type == "content_block_delta":
            seen["said"] += getattr(event.delta, "text", None) or getattr(event.delta, "partial_json", None) or ""
        elif event.type == "message_delta":
            reason = event.delta.stop_reason
        elif event.type == "message_stop":
            seen["finish"] = reason


READ = {"chat": read_chat, "responses": read_responses, "messages": read_messages}


def answer(line):
    """What one request has shown, told with its question."""
    base_url, usage, endpoint, question = line.split()
    with making:
        client = clients.setdefault((base_url, endpoint), client_of(base_url, endpoint))
    seen = {"said": "", "finish": None, "error": None}
    try:
        READ[endpoint](client, question, usage, seen)
    except Exception as raised:  # noqa: BLE001
        own = {base.__name__ for base in type(raised).__mro__} & {"OpenAIError", "AnthropicError"}
        seen["error"] = "APIError" if own else type(raised).__name__
    with telling:
        print(json.dumps({"question": question, "seen": seen}), flush=True)


making, telling = Lock(), Lock()
with ThreadPoolExecutor(AT_ONCE) as pool:
    for line in sys.stdin:
        pool.submit(answer, line)
