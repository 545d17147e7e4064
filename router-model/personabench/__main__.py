"""`python -m personabench <command>`."""

from personabench.cli import app

app(prog_name="personabench")
