"""The `llm` command: a name of OpenAI's by an alias, `auto` by its own file of models, a tool, a schema, a chat."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BASE_URL, KEY, USER = os.environ["BASE_URL"], os.environ["KEY"], os.environ["USER_ID"]
home = Path(tempfile.mkdtemp())
environment = {**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": BASE_URL}
models = [
    {"model_id": name, "model_name": name, "api_base": BASE_URL, "supports_tools": True, "supports_schema": True}
    | {"api_key_name": "gateway", "headers": {"x-user-id": USER}}
    for name in ("auto", "caller")
]
(home / "extra-openai-models.yaml").write_text(json.dumps(models))
(home / "keys.json").write_text(json.dumps({"gateway": KEY}))
TOOL = '''
def get_weather(city: str) -> str:
    "The weather of a city."
    return f"17 degrees in {city}"
'''


def llm(*arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "llm"), *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


for model in ("gpt-5-mini", "gpt-4o-mini", "auto"):
    assert llm("-m", model, "Hello").startswith("[sandbox "), model
    assert llm("-m", model, "--no-stream", "Hello").startswith("[sandbox "), model
    assert llm("-m", model, "--continue", "And?").startswith("[sandbox "), model
    assert set(json.loads(llm("-m", model, "--schema", "city, days int", "Plan a trip."))) == {"city", "days"}
assert llm("-m", "caller", "--functions", TOOL, "What is the weather?") == "The tool said: 17 degrees in Lisbon"
