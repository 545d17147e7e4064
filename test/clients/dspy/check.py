"""DSPy: its language model by chat completions and by Responses, and its embedder."""

import os

import dspy

headers = {"x-user-id": os.environ["USER_ID"]}
common = {"api_base": os.environ["BASE_URL"], "api_key": os.environ["KEY"]}
for kind in ("chat", "responses"):
    model = dspy.LM("openai/auto", model_type=kind, cache=False, extra_headers=headers, **common)
    (answer,) = model("What is the capital of France?")
    text = answer if isinstance(answer, str) else answer["text"]
    assert text.startswith("[sandbox "), answer
embedder = dspy.Embedder("openai/text-embedding-3-small", caching=False, **common)
assert embedder(["Hello"]).tolist() == [[0.25, -0.5, 1.0]]
