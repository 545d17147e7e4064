"""Off-policy values of a replayed router against the truth, which a made-up log knows for all answers never given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_rows import rows_of, write
from numpy.typing import NDArray

from personabench.true_gain import main, true_utility
from router_model.collect.made_log import MadeLog
from router_model.data.cards import card_matrix, price_matrix
from router_model.data.codes import code_matrix
from router_model.data.simulation import RATING_NOISE
from router_model.embedding import StaticEmbedder
from router_model.network import Router, Sizes
from router_model.priors.prior import CARD_FEATURES, believe_cards, believe_people, believe_rewards
from router_model.retrain.consent import cards_of
from router_model.retrain.judgement import choices_of
from router_model.retrain.log import open_log
from router_model.retrain.logbook import Logbook, read_logbook
from router_model.retrain.ope import check_propensities, difference, dr, estimate, ips, snips
from router_model.retrain.policy import Gamma, greedy, inverse_gap
from router_model.retrain.replay import Model, replay
from router_model.retrain.runner import TorchRunner, llm_states

SIZES = Sizes(card=2 * len(CARD_FEATURES), provider_code=4, name_code=8, known_tasks=4, tasks=2, hidden=8, components=2)


def plain_model(log: Logbook, embedder: StaticEmbedder) -> Model:
    torch.manual_seed(0)
    router = Router(SIZES)
    believe_cards(router)
    believe_people(router)
    believe_rewards(router)
    cards = cards_of(log.llms, log.price, None)
    inputs = {
        "card": card_matrix(cards, CARD_FEATURES),
        "text": embedder.embed([card.text for card in cards]),
        "provider_code": code_matrix([card.vendor for card in cards], SIZES.provider_code),
        "name_code": code_matrix([card.name for card in cards], SIZES.name_code),
        "price": price_matrix(cards),
    }
    runner = TorchRunner(router)
    z = llm_states(runner, inputs, np.zeros((len(cards), SIZES.llm_message)))
    return Model(runner, z, SIZES.memory(1.0))


def true_rewards(made: MadeLog, log: Logbook, answers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected rating [n, M] of each candidate's answer to the question that was asked, by whoever asked it."""
    utility = true_utility(made, log, answers)
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    noisy = np.clip(utility[..., None] + RATING_NOISE * nodes, -1, 1)
    expected: NDArray[np.float64] = noisy @ (weights / weights.sum())
    return expected


def test_values_of_a_personal_policy_are_true(
    make_log: Callable[..., MadeLog], embedder: StaticEmbedder, tmp_path: Path
) -> None:
    made = make_log(50, requests=16, thumbs=0.0, judged=0.0)
    log = read_logbook(open_log(str(write(tmp_path / "log.jsonl", rows_of(made)))), ["acme"], embedder)
    choices = choices_of(log, np.ones(len(log.users), bool))
    sample = choices.sample
    assert check_propensities(sample).p_value > 1e-3
    found = replay(plain_model(log, embedder), log, choices.answer)
    found = found.of(choices.answer)
    mean, rewards = found.mean, found.rewards
    truth = true_rewards(made, log, choices.answer)
    personal = inverse_gap(mean, choices.candidate, choices.candidate, rewards, Gamma())
    cold = greedy(found.cold, choices.candidate)

    for policy in (personal, cold):
        value = float((policy * truth).sum(1).mean())
        for terms in (ips(sample, policy), snips(sample, policy), dr(sample, policy, np.clip(mean, -1, 1))):
            e = estimate(terms, sample.cluster)
            assert e.low < value < e.high
    gain = difference(dr(sample, personal, mean), dr(sample, cold, mean), sample.cluster)
    assert gain.low < float(((personal - cold) * truth).sum(1).mean()) < gain.high
    direct = float((personal * mean).sum(1).mean())
    robust = estimate(dr(sample, personal, mean), sample.cluster).value
    value = float((personal * truth).sum(1).mean())
    assert abs(robust - value) < abs(direct - value), "the log corrects what the model believes of itself"


def test_the_true_gain_of_retraining_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(shift="cost_efficiency", users=40, requests=6, judged=30)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("rewards known")
    assert [row.split(" | ")[0] for row in rows] == ["0 to 0", "1 to 2", "3 to 5"]
    for row in rows:
        _, answers, old, new, gain, best = row.split(" | ")
        assert int(answers) > 0
        assert float(new) - float(old) == pytest.approx(float(gain.split()[0]), abs=2e-4)
        assert float(best) >= max(float(old), float(new))
