"""LlamaIndex, which knows OpenAI's names alone: aliases, chat and a stream."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI, OpenAIResponses

common = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["KEY"], "model": "gpt-4o-mini"}
for kind in (OpenAI, OpenAIResponses):
    model = kind(**common)
    assert str(model.chat([ChatMessage(role="user", content="Hello")]).message.content).startswith("[sandbox"), kind
    assert "".join(str(chunk.delta) for chunk in model.stream_complete("Hello")).startswith("[sandbox"), kind
