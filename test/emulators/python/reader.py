"""Reads answers with the official SDKs: a request a line on stdin, what became of it a line on stdout.

In: {"api": "chat" | "responses" | "messages" | "completions", "body": {...}, "headers": {...}}.
Out: {"end": why it ended, or null}, or {"error": class, "own": whether it is the SDK's, "status": of the answer, or
null}.
"""

import json
import os
import sys

import anthropic
import openai

base, key = os.environ["BASE_URL"], os.environ["KEY"]
gpt = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
claude = anthropic.Anthropic(base_url=base.removesuffix("/v1"), api_key=key, max_retries=0)

CREATE = {
    "chat": gpt.chat.completions,
    "responses": gpt.responses,
    "completions": gpt.completions,
    "messages": claude.messages,
}
KNOWN = {"model", "messages", "input", "prompt", "stream", "max_tokens"}


def end_of(api, thing):
    """Why an answer, or an event of one, ended it; None for one that did not."""
    if api == "responses":
        response = getattr(thing, "response", thing)
        return getattr(response, "status", None)
    if api == "messages":
        found = getattr(thing, "delta", thing)
        return getattr(found, "stop_reason", None)
    ends = [choice.finish_reason for choice in thing.choices if choice.finish_reason]
    return ends[0] if ends else None


def ask(api, body, headers):
    """One request, read to its end as a program would."""
    named = {name: value for name, value in body.items() if name in KNOWN}
    more = {name: value for name, value in body.items() if name not in KNOWN}
    answer = CREATE[api].create(**named, extra_body=more, extra_headers=headers)
    if not body.get("stream"):
        # Every field is looked at, as when a program keeps the answer.
        answer.to_json()
        return end_of(api, answer)
    end = None
    for event in answer:
        event.to_json()
        end = end_of(api, event) or end
    return end


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {"end": ask(asked["api"], asked["body"], asked["headers"])}
    except Exception as error:
        own = isinstance(error, (openai.OpenAIError, anthropic.AnthropicError))
        told = {"error": type(error).__name__, "own": own, "status": getattr(error, "status_code", None)}
        if not own:
            told["error"] += f": {error}"
    print(json.dumps(told), flush=True)
