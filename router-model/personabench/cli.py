"""The laboratory's commands, as in `router_model.cli`."""

from __future__ import annotations

from router_model.cli import command_line

COMMANDS = {
    "evaluate": "personabench.evaluate:evaluate",
    "ablate": "personabench.ablate:ablate",
    "trials": "personabench.trials.command:trials",
    "today": "personabench.today:today",
    "order": "personabench.card_order:order",
    "seed": "personabench.seed.command:seed",
    "people": "personabench.people.command:people",
    "risk": "personabench.risk:risk",
    "record": "personabench.record:record",
}

app = command_line(COMMANDS, "PersonaBench: how well routers serve users they have not met.")
