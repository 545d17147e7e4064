import json
from dataclasses import replace

import pytest
from small_heads import HEADS
from typer.testing import CliRunner

from personabench.bench.contestant import Kind
from personabench.bench.registry import CONTESTANTS
from personabench.bench.report import markdown, picture, terminal_tables
from personabench.bench.results import Figure, Results, Row
from personabench.bench.run import Plan
from personabench.bench.run import run as run_plan
from personabench.bench.tally import Kept, Tally
from personabench.cli import app
from personabench.metrics import Interval
from router_model.data.population import simulate
from router_model.places import DATA


def run(*arguments: str):
    return CliRunner().invoke(app, ["evaluate", *arguments], env={"COLUMNS": "200"})


def test_the_command_prints_the_table_and_writes_json_markdown_and_a_picture(tmp_path):
    only = "best-single,regression-gaussian,true-tastes"
    found = run("--quick", "--feedback", "dense", "--users", "60", "--only", only, "--out", str(tmp_path))
    assert found.exit_code == 0, found.output
    assert "regression, Gaussian, linear" in found.output
    results = Results.load(tmp_path / "results.json")
    assert {row.n for row in results.rows} == {0, 5, 20, 50}
    single = [row.gap.value for row in results.rows if row.contestant == "best single"]
    assert single == pytest.approx([0.0] * 4)
    assert "| best single |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_population_file_and_chosen_llms_are_used(tmp_path):
    simulate(9, 60).save(tmp_path / "users.json")
    config = tmp_path / "bench.toml"
    config.write_text('llms = "gpt-4o-mini-2024-07-18,gemma-2-9b-it,claude-3-opus-20240229"\nonly = "cheapest"\n')
    found = run(
        "--quick", "--feedback", "thumbs", "--config", str(config), "--population", str(tmp_path / "users.json"),
        "--out", str(tmp_path),
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    made = json.loads((tmp_path / "results.json").read_text())
    assert {row["contestant"] for row in made["rows"]} == {"cheapest"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "nobody"), "no contestant nobody"),
        (("--feedback", "shouts"), "no feedback shouts"),
        (("--shifts", "sideways"), "no shift sideways"),
        (("--pools", "nowhere"), "no such file"),
        (("--llms", "gpt-99"), "has no gpt-99"),
        (("--folds", "2"), "for training or tuning"),
        (("--artifact", "/nonexistent"), "no such file"),
    ],
)
def test_wrong_options_are_named(arguments, said):
    found = run("--quick", *arguments)
    assert found.exit_code == 2
    assert said in " ".join(found.output.replace("│", " ").split())


def test_significance_is_marked_in_every_table(tmp_path):
    def row(name: str, kind: Kind, over: Interval | None) -> Row:
        return Row("zeroeval", "dense", "none", name, kind, 20, Interval(0.3, 0.2, 0.4), over, 0.1)

    results = Results(
        {}, [row("a", "personal", Interval(0.1, 0.05, 0.2)), row("b", "personal", Interval(-1, -2, -0.5))]
    )
    results.figures.append(Figure("zeroeval", "dense", "a", "ECE", 0.01, 0.0, 0.02))
    text = markdown(results)
    assert "| a | 0.300+ | 10 % |" in text
    assert "| b | 0.300- | 10 % |" in text
    assert "0.01 [0, 0.02]" in text
    assert len(terminal_tables(results)) == 2
    results.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json").rows == results.rows
    picture(results, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_a_run_that_was_cut_off_goes_on_with_the_seeds_that_are_done(tmp_path):
    plan = Plan(("zeroeval",), DATA, ("dense",), users=60, lengths=(0, 5), heads=HEADS)
    who = [CONTESTANTS["best-single"], CONTESTANTS["true-tastes"]]

    def go(first: int, seeds: int, of: str, *, resume: bool):
        folder = tmp_path / ("kept" if resume else f"new {first} {seeds} {of}")
        said: list[str] = []
        parts: list[Results] = []
        made = run_plan(
            replace(plan, first=first, seeds=seeds), who, said.append, parts.append, Kept(folder, {"of": of})
        )
        assert [part.rows[0].seeds for part in parts] == list(range(1, seeds + 1))
        assert parts[-1].rows == made.rows
        return [line for line in said if line.endswith("users and their log")], made.rows

    go(1, 1, "this", resume=True)
    begun, resumed = go(0, 2, "this", resume=True)
    assert begun == ["zeroeval, dense, seed 0: users and their log"]
    _, whole = go(0, 2, "this", resume=False)
    assert whole == resumed
    begun, _ = go(1, 1, "other users", resume=True)
    assert begun, "another run's seeds are not taken"
    assert "zeroeval, dense, 2 seeds" in markdown(Results({}, whole))


def test_only_on_request_does_the_command_take_what_another_run_left(tmp_path):
    def go(*more: str) -> str:
        fixed = ("--quick", "--feedback", "dense", "--users", "60", "--only", "cheapest")
        found = run(*fixed, "--out", str(tmp_path), *more)
        assert found.exit_code == 0, found.output
        return found.output

    go()
    assert "seed 0: users" not in go("--resume")
    assert "seed 0: users" in go()


def test_a_new_run_deletes_seeds_of_earlier_runs_and_nothing_else(tmp_path):
    kept = Kept(tmp_path / "seeds", {"of": "this"})
    kept.clear()
    kept.save("zeroeval", "dense", 0, Tally())
    mine = next(kept.folder.iterdir())
    half = mine.with_suffix(".part")
    half.write_bytes(mine.read_bytes()[:60])
    others = {"seed.json": "{}", "tomatoes-dense-0.json": '{"sown": 3}', "list.part": "", "notes.txt": "mine"}
    for name, text in others.items():
        (kept.folder / name).write_text(text)
    (kept.folder / "folder.json").mkdir()
    kept.clear()
    assert {path.name for path in kept.folder.iterdir()} == {*others, "folder.json"}


def test_another_text_of_the_population_file_is_another_population(tmp_path):
    users = tmp_path / "users.json"
    options = ("--quick", "--feedback", "dense", "--only", "cheapest", "--population", str(users))

    def go(seed: int) -> str:
        simulate(seed, 60).save(users)
        found = run(*options, "--resume", "--out", str(tmp_path))
        assert found.exit_code == 0, found.output
        return found.output

    go(9)
    assert "seed 0: users" not in go(9)
    assert "seed 0: users" in go(8)
