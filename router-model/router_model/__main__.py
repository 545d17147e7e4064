"""`python -m router_model <command>`."""

from router_model.cli import app

app(prog_name="router_model")
