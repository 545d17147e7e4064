"""Inspect: an evaluation of `openai/auto`, and one whose model calls a tool."""

import os
import tempfile

os.environ["OPENAI_BASE_URL"] = os.environ["BASE_URL"]
os.environ["OPENAI_API_KEY"] = os.environ["KEY"]

from inspect_ai import Task, eval  # noqa: A004, E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.scorer import includes  # noqa: E402
from inspect_ai.solver import generate, use_tools  # noqa: E402
from inspect_ai.tool import Tool, tool  # noqa: E402


HEADERS = {"x-user-id": os.environ["USER_ID"]}


@tool
def get_weather() -> Tool:
    async def execute(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return f"17 degrees in {city}"

    return execute


def accuracy(model: str, target: str, *steps) -> float:
    task = Task(dataset=[Sample(input="What is the weather in Lisbon?", target=target)], solver=[*steps, generate()])
    task.scorer = [includes()]
    (log,) = eval(task, model=model, display="none", log_dir=tempfile.mkdtemp(), extra_headers=HEADERS)
    assert log.status == "success", log.error
    return log.results.scores[0].metrics["accuracy"].value


assert accuracy("openai/auto", "[sandbox ") == 1
assert accuracy("openai/caller", "The tool said: 17 degrees in Lisbon", use_tools(get_weather())) == 1
