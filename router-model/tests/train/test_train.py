"""Training from end to end on a tiny configuration: does it run, resume, and learn?"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from router_model.data.cards import card_matrix
from router_model.data.pools import load_pool
from router_model.export.artifact import read_manifest
from router_model.export.trained import model_card, write_trained
from router_model.priors.prior import CARD_FEATURES, ability_specs, value_column
from router_model.train.command import people
from router_model.train.recard import learn_cards
from router_model.train.train import (
    PeopleSettings,
    Rate,
    ReadingSettings,
    SizeConfig,
    Stages,
    TrainConfig,
    curve,
    fit_rate,
    held_in,
    outcomes_of,
    task_groups,
    train,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return TrainConfig(
        data=ROOT / "data",
        embedder=ROOT / "embedders" / "static-2",
        pools=["zeroeval"],
        train_folds=[0, 1],
        most_rows={"zeroeval": 300},
        cross_fit=2,
        task_groups={"numbers": ["gsm8k", "math_l5"], "code": ["crux"]},
        sizes=SizeConfig(hidden=8, difficulties=2, verbosities=2, provider_code=3, name_code=4, components=2),
        reading=ReadingSettings(epochs=4),
        people=PeopleSettings(pools=["zeroeval"], users=60, requests=20, iterations=2),
        hold_out=["gpt-4o-2024-05-13"],
    )


@pytest.mark.parametrize(("name", "device"), [("small", "cpu"), ("full", "cuda")])
def test_committed_configurations_are_whole(name: str, device: str) -> None:
    made = TrainConfig.load(ROOT / "configs" / f"{name}.yaml")
    assert made.device == device
    assert made.embedder.is_dir()
    tasks, _ = task_groups(made)
    for pool in made.pools:
        assert set(load_pool(pool, made.data).task.tolist()) <= set(tasks)
    assert not set(made.train_folds) & {*made.validation_folds, 8}


def test_training_learns_resumes_and_repeats(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    first = train(config, tmp_path, quiet=True)
    assert "gpt-4o-2024-05-13" not in first.population
    assert len(list((tmp_path / config.digest()).glob("*.pt"))) == 3

    tasks, _ = task_groups(config)
    pool = load_pool("zeroeval", config.data)
    unseen = outcomes_of(pool.select_queries(pool.rows([7])), first.embedder, tasks)
    with torch.no_grad():
        logits, _ = first.router.encoder.read(torch.as_tensor(unseen.query))
    assert (logits.argmax(-1).numpy() == unseen.task).mean() > 0.8

    again = train(config, tmp_path, quiet=True)  # from the kept stages
    for name, value in first.router.state_dict().items():
        assert torch.equal(value, again.router.state_dict()[name]), name


def test_cards_are_learned_anew_and_all_else_stays(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config, None, quiet=True)
    first.router.features.quality_scale.data.fill_(1.25)
    first.metrics = {"gap closed": 0.25}
    write_trained(first, config, tmp_path / "one", "one")
    again = learn_cards(tmp_path / "one", config.model_copy(update=TOLD))
    settings = tmp_path / "tiny.yaml"
    settings.write_text(json.dumps(config.model_dump(mode="json")))
    people(tmp_path / "one", "two", settings, tmp_path)
    # what is made of it without learning cards anew reads them as it does
    assert read_manifest(tmp_path / "two").ability == read_manifest(tmp_path / "one").ability
    by = "Made by `python -m router_model train` from `configs/` with seed 0"
    for version, card, made in [
        ("one", (tmp_path / "one" / "MODEL_CARD.md").read_text(), f"{by}."),
        ("cards", model_card(again, config, "cards"), f"{by} (one), then `python -m router_model cards`."),
        ("two", (tmp_path / "two" / "MODEL_CARD.md").read_text(), f"{by} (one), then `python -m router_model people`."),
    ]:
        assert f"\n{made}\nFigures: " in card
        # figures of another artifact are never told as its own
        assert ("of one, not of this artifact" in card) == (version != "one")
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()) == first.metrics
    of_another = {"before": {"of": "one"} | first.metrics}
    assert again.metrics == of_another
    assert json.loads((tmp_path / "two" / "metrics.json").read_text()) == of_another
    assert list(again.population) == list(first.population)
    before, after = first.router.state_dict(), again.router.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("llm_node"))
    assert not torch.equal(before["llm_node.quality.card.weight"], after["llm_node.quality.card.weight"])
    assert again.usual is not None
    np.testing.assert_array_equal(first.usual, again.usual[:4])
    # an LLM whose outcomes are known is thought as able as before
    cards = [card for card in load_pool("zeroeval", config.data).cards if card.name in first.population]
    told = card_matrix(cards, CARD_FEATURES, *ability_specs())
    quality = []
    for trained in (first, again):
        evidence = np.stack([trained.population[card.name] for card in cards])
        text = trained.embedder.embed([card.text for card in cards])
        size = trained.router.sizes
        with torch.no_grad():
            z = trained.router.llm(
                torch.as_tensor(told),
                torch.as_tensor(text),
                torch.zeros(len(cards), size.provider_code),
                torch.zeros(len(cards), size.name_code),
                torch.zeros(len(cards), 2),
                torch.as_tensor(evidence),
            )
        quality.append(trained.router.split_z(z)[0].numpy())
    np.testing.assert_allclose(quality[1], quality[0], atol=0.02)


TOLD = {
    "curves": {"crux": ["aider_polyglot", "terminal_bench"]},
    "rates": {"crux": Rate(pool="bullshit_v2", field="pushback_rate", card=["agentic", "output_price"])},
}


def test_what_only_figures_and_means_tell_of_a_task() -> None:
    data = TrainConfig.load(ROOT / "configs" / "small.yaml")
    _, gain, own = curve(["aider_polyglot", "terminal_bench"])
    assert gain > 0.3
    assert own[value_column("agentic")] > 0.1
    assert own[value_column("chat")] == 0
    rate = data.rates["professional"]
    _, gain, own = fit_rate(rate, data)
    assert gain > 0
    assert own[value_column("output_price")] > 0
    assert not own[[value_column(f.field) for f in CARD_FEATURES if f.field not in rate.card]].any()
    alone = fit_rate(rate, data.model_copy(update={"hold_out": ["anthropic"]}))
    assert alone[1] != gain


def test_people_like_quality_and_mind_cost(config: TrainConfig, tmp_path: Path) -> None:
    trained = train(config, None, quiet=True)
    node, width = trained.router.user_node, 1 + trained.router.sizes.tasks
    assert node.population_mean[0] > 0.1
    assert node.population_mean[width] < 0
    assert np.isfinite(node.population_covariance.numpy()).all()


def test_task_in_no_group_is_named(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="crux"):
        train(config.model_copy(update={"task_groups": {"numbers": ["gsm8k", "math_l5"]}}), None, quiet=True)


def test_a_maker_may_be_held_out(config: TrainConfig) -> None:
    pool = load_pool("zeroeval", config.data)
    left = held_in(pool, ["anthropic", "gpt-4o-2024-05-13"])
    gone = {card.name for card in pool.cards} - set(left.names)
    assert gone == {card.name for card in pool.cards if card.vendor == "anthropic"} | {"gpt-4o-2024-05-13"}


def test_training_is_deterministic(config: TrainConfig) -> None:
    short = config.model_copy(
        update={"reading": ReadingSettings(epochs=1), "people": PeopleSettings(users=40, requests=5)}
    )
    one, two = train(short, None, quiet=True), train(short, None, quiet=True)
    for name, value in one.router.state_dict().items():
        assert torch.equal(value, two.router.state_dict()[name]), name


def test_a_stage_of_an_older_package_is_made_anew(tmp_path: Path) -> None:
    # What `torch.load` meets where a class was moved or renamed since.
    kept = tmp_path / "reading.pt"
    gone = types.ModuleType("router_model_before")
    gone.Made = type("Made", (), {"__module__": gone.__name__})  # type: ignore[attr-defined]
    sys.modules[gone.__name__] = gone
    torch.save(gone.Made(), kept)
    del sys.modules[gone.__name__]
    assert Stages(tmp_path).run("reading", lambda: 7) == 7
    assert Stages(tmp_path).run("reading", lambda: 8) == 7
