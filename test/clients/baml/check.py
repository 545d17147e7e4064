"""BAML, whose HTTP client is its own: chat completions, Responses and messages, whole and streamed."""

import asyncio
import importlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

BASE_URL = os.environ["BASE_URL"]
PROVIDERS = {
    "Chat": ("openai-generic", BASE_URL),
    "Responses": ("openai-responses", BASE_URL),
    "Messages": ("anthropic", BASE_URL.removesuffix("/v1")),
}
GENERATOR = 'generator python {{ output_type "python/pydantic" output_dir ".." version "{}" }}\n'
FUNCTION = """
client<llm> {name} {{
  provider {provider}
  options {{
    base_url "{base}"
    api_key "{key}"
    model "auto"
    headers {{ "x-user-id" "{user}" }}
  }}
}}
function Ask{name}(question: string) -> string {{
  client {name}
  prompt #"{{{{ _.role("user") }}}} {{{{ question }}}}"#
}}
"""

source = Path("baml_src")
source.mkdir(exist_ok=True)
(source / "generators.baml").write_text(GENERATOR.format(version("baml-py")))
for name, (provider, base) in PROVIDERS.items():
    values = {"provider": provider, "base": base, "key": os.environ["KEY"], "user": os.environ["USER_ID"]}
    (source / f"{name.lower()}.baml").write_text(FUNCTION.format(name=name, **values))
subprocess.run([str(Path(sys.executable).parent / "baml-cli"), "generate"], check=True, stdout=subprocess.DEVNULL)
sys.path.insert(0, str(Path.cwd()))
client = importlib.import_module("baml_client.async_client").b


async def main() -> None:
    for name in PROVIDERS:
        answer = await getattr(client, f"Ask{name}")("Hello")
        assert answer.startswith("[sandbox "), (name, answer)
        stream = getattr(client.stream, f"Ask{name}")("Hello")
        pieces = [piece async for piece in stream]
        assert pieces, name
        assert (await stream.get_final_response()).startswith("[sandbox "), name


asyncio.run(main())
