"""The package's commands: each lives in a module of its own, is a line here, and is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "evaluate": "evaluate:evaluate",
    "ablate": "ablate:ablate",
    "trials": "trials:trials",
    "record": "record:record",
    "train": "train_command:train",
    "export": "train_command:export",
    "retrain": "retrain:command",
    "collect": "collect.run:command",
    "simulate-users": "collect.users:command",
    "judge-personas": "collect.personas:command",
}
"""Module and function by name. Most need PyTorch, which takes seconds to load; `collect` doesn't."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
        alone.command(cmd_name)(getattr(import_module(f"router_model.{module}"), function))
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # there are keys among them
    help="The personalised graph router.",
)


@app.callback()
def main() -> None:
    """Typer wants one where commands come later."""
