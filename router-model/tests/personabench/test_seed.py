import json

import numpy as np
import pytest
from small_heads import HEADS
from typer.testing import CliRunner

from personabench.baselines import personalized_router
from personabench.baselines.personalized_router import PersonalizedRouter
from personabench.baselines.simple import BestSingle
from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.retrained_router import RetrainedRouter, logbook_of
from personabench.cli import app
from personabench.metrics import resample
from personabench.seed import judge
from personabench.seed.bounds import Oracle, OwnBest, Told
from personabench.seed.judge import Case, compete
from personabench.seed.report import markdown, paired
from router_model.collect.strategies import CostEfficiencyPopulation
from router_model.data.population import TEST


@pytest.fixture(scope="module")
def rows(pool, artifact):
    steps, copies, met = personalized_router.STEPS, judge.COPIES, judge.MET
    personalized_router.STEPS, judge.COPIES, judge.MET = 3, 8, 12
    factories: list[judge.Factory] = [
        BestSingle,
        OwnBest,
        PersonalizedRouter,
        lambda: ArtifactRouter(artifact, "graph router, as shipped"),
        lambda: RetrainedRouter(artifact, "graph router, after retrain"),
        Told,
        Oracle,
    ]
    try:
        return compete(Case("zeroeval", "nine", "task"), pool, factories, 1, heads=HEADS)
    finally:
        personalized_router.STEPS, judge.COPIES, judge.MET = steps, copies, met


def of(rows, contestant, protocol="new", n=None):
    found = [row for row in rows if row.contestant == contestant and row.protocol == protocol]
    return found[0] if n is None else next(row for row in found if row.n == n)


def test_both_protocols_are_judged_and_the_bounds_bound(rows):
    for protocol in ("new", "met before"):
        by = {row.contestant: row for row in rows if row.protocol == protocol}
        assert len(by) == 7
        assert all(by["oracle"].reward.value >= row.reward.value - 1e-6 for row in by.values())
        assert by["best single"].over == {} or "best single" not in by["best single"].over
    told = of(rows, "own best fixed LLM, a told", n=50)
    assert told.over["best single"].value > -0.02
    assert {row.n for row in rows if row.protocol == "new"} == {0, 5, 20, 50, 100}
    assert {row.n for row in rows if row.protocol == "met before"} == {100}


def test_reward_is_what_performance_and_cost_make_of_it(pool):
    """For a user with a = 1, reward is performance."""
    people = CostEfficiencyPopulation(np.ones(20), np.full(20, TEST))
    users, some = np.arange(20), np.arange(30)
    asked = judge.Asked(people, pool, users, some, np.ones((20, 30), bool), 0, resample(20, 30, 0, 0, replicates=10))
    sums, worse = asked.judge(people.utility(users, pool, some))
    assert float(sums.mean[0]) == pytest.approx(float(pool.quality[some].max(1).mean()), rel=1e-5)
    assert float(sums.performance[0]) == pytest.approx(float(sums.reward[0]), rel=1e-5)
    assert worse == 0


def test_questions_of_the_own_history_are_not_judged(pool):
    people = CostEfficiencyPopulation.nine(4)
    users, some = np.arange(6), np.arange(40)
    counted = np.ones((6, 40), bool)
    counted[:, :20] = False
    draws = resample(6, 40, 0, 0, replicates=10)
    scores = people.utility(users, pool, some)
    half, _ = judge.Asked(people, pool, users, some, counted, 0, draws).judge(scores)
    alone = resample(6, 20, 0, 0, replicates=10)
    same, _ = judge.Asked(people, pool, users, some[20:], np.ones((6, 20), bool), 0, alone).judge(scores[:, 20:])
    assert float(half.mean[0]) == pytest.approx(float(same.mean[0]), rel=1e-5)
    assert float(half.answers[0]) == 120


def test_the_second_strategy_has_nine_personas_each_with_a_favourite_answer(pool):
    case = Case("zeroeval", "judged", "task")
    people, rows = case.users(0, 0, pool), np.arange(30)
    liked = people.utility(np.arange(judge.PERSONAS + 1), pool, rows)
    assert set(np.unique(liked)) == {-1.0, 1.0}
    assert ((liked > 0).sum(-1) == 1).all()
    assert np.array_equal(liked[0], liked[judge.PERSONAS])
    assert len({tuple(one.argmax(-1)) for one in liked}) == judge.PERSONAS
    assert np.array_equal(people.cost(pool), CostEfficiencyPopulation.nine(1, 0, "task").cost(pool))
    assert len(people.split) == judge.PERSONAS * judge.COPIES


def test_the_tables_name_everybody_and_the_rivals(rows):
    text = markdown(rows)
    assert "zeroeval, nine trade-offs, cost min-max per task, new users" in text
    assert "over PersonalizedRouter, as in the paper" in text
    assert "graph router, after retrain" in text
    assert "PersonalizedRouter, as in the paper" in paired(rows)


def test_a_history_becomes_the_log_that_retrain_reads(episodes, pool, artifact):
    known = episodes("thumbs").known
    history = known.log.fresh.of(np.arange(5)).first(7)
    log = logbook_of(history, list(pool.names), pool.prompt_tokens, known.embeddings)
    assert len(log.users) == 5
    assert len(log.edges) == 35
    assert np.all(np.diff(log.edges.user) >= 0)
    assert [log.llms[llm] for llm in log.answers.llm[:7]] == [pool.names[llm] for llm in history.llm[0]]
    back = log.answers.queries.vector(np.arange(7))
    assert np.abs(back - known.embeddings[history.query[0]]).max() <= np.abs(back).max() / 120
    assert not set(history.query.ravel()) & set(known.train)


def test_the_command_refuses_what_it_does_not_know():
    done = CliRunner().invoke(app, ["seed", "--groups", "ten"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "no group ten" in " ".join(done.output.replace("│", " ").split())


def test_the_command_writes_its_tables(tmp_path, artifact):
    done = CliRunner().invoke(
        app,
        [
            "seed", "--artifact", str(artifact), "--pools", "zeroeval", "--groups", "spread", "--scales", "task",
            "--only", "own-best,oracle", "--users", "60", "--seeds", "2", "--quick", "--out", str(tmp_path),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "results.json").read_text())
    assert {row["contestant"] for row in made["rows"]} == {"best single", "own best fixed LLM, a told", "oracle"}
    assert "trade-offs spread evenly" in (tmp_path / "results.md").read_text()
