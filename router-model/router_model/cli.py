"""The package's commands; each lives in a module of its own and is a line here."""

from __future__ import annotations

import typer

from router_model.ablate import ablate
from router_model.collect.personas import command as judge_personas
from router_model.collect.run import command as collect
from router_model.collect.users import command as simulate_users
from router_model.evaluate import evaluate
from router_model.retrain import command as retrain
from router_model.train_command import export, train

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The personalised graph router.")


@app.callback()
def main() -> None:
    """Make the command's name part of the call, also while there is one command only."""


app.command()(evaluate)
app.command()(ablate)
app.command()(train)
app.command()(export)
app.command("retrain")(retrain)
app.command("collect")(collect)
app.command("simulate-users")(simulate_users)
app.command("judge-personas")(judge_personas)
