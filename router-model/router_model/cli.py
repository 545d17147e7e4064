"""The package's commands: each lives in a module of its own, is a line here, and is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "train": "router_model.train.command:train",
    "export": "router_model.train.command:export",
    "cards": "router_model.train.command:cards",
    "people": "router_model.train.command:people",
    "tools": "router_model.train.command:tools",
    "abilities": "router_model.abilities.command:abilities",
    "tasks": "router_model.train.tasks:command",
    "retrain": "router_model.retrain.command:command",
    "collect": "router_model.collect.run:command",
    "simulate-users": "router_model.collect.users:command",
    "judge-personas": "router_model.collect.personas:command",
}
"""Module and function by name. Most need PyTorch, which takes seconds to load; `collect` doesn't."""


def command_line(commands: Mapping[str, str], purpose: str) -> typer.Typer:
    """Commands by name, each given as "module:function"."""

    class Commands(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in commands:
                return None
            module, _, function = commands[cmd_name].partition(":")
            alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
            alone.command(cmd_name)(getattr(import_module(module), function))
            return typer.main.get_command(alone)

    made = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,  # there are keys among them
        help=purpose,
    )

    @made.callback()
    def main() -> None:
        """Typer wants one where commands come later."""

    return made


app = command_line(COMMANDS, "The personalised graph router.")
