"""True gain of retraining, measured on made-up users: their utility of every answer is known.

`python -m personabench.true_gain --shift anti_correlated --users 2000`: the best answer by the current and by
the retrained artifact's belief, both with all that the log says of LLMs, for users who taught neither, by how many
rewards were known of them. An off-policy estimate of the same has several times the width.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from router_model.collect.made_log import MadeLog, write_jsonl
from router_model.collect.strategies import CostEfficiencyPopulation
from router_model.data.pools import load_pool
from router_model.data.population import Population, Shift, simulate
from router_model.embedding import StaticEmbedder
from router_model.export.artifact import Artifact
from router_model.network import Router
from router_model.places import ARTIFACTS, find_artifact
from router_model.retrain.fit import fit
from router_model.retrain.judgement import choices_of
from router_model.retrain.log import open_log
from router_model.retrain.logbook import Logbook, read_logbook
from router_model.retrain.ope.estimators import Terms
from router_model.retrain.ope.interval import estimate
from router_model.retrain.options import Options
from router_model.retrain.refit import held_out
from router_model.retrain.replay import Model, Replay, replay
from router_model.retrain.runner import TorchRunner, llm_states
from router_model.retrain.start import base_of, prepare

BANDS = ((0, 0), (1, 2), (3, 9), (10, 10_000))
"""Rewards of a user, from and to."""


def true_utility(made: MadeLog, log: Logbook, answers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Utility [n, M] of each candidate's answer to the question that was asked, for its user."""
    vectors = made.embedder.embed(list(made.pool.queries))
    scale = np.maximum(np.abs(vectors).max(1) / 127, 1e-12)
    packed = np.rint(vectors / scale[:, None]).astype(np.int8)
    row_of = {vector.tobytes(): row for row, vector in enumerate(packed)}
    queries = log.answers.queries
    rows = np.array([row_of[queries.vectors.int8[queries.place[a]].tobytes()] for a in answers])
    names = [log.users[u][1] for u in log.decisions.user[log.answers.decision[answers]]]
    users = np.array([int(name.removeprefix("user-")) for name in names])
    columns = [made.pool.names.index(name) for name in log.llms]
    parts = [made.population.utility(np.array([u]), made.pool, np.array([r])) for u, r in zip(users, rows, strict=True)]
    found: NDArray[np.float64] = np.concatenate([part[0] for part in parts])[:, columns].astype(float)
    return found


def main(
    artifact: str = "current",
    pool: str = "llmrouter",
    shift: Annotated[str, typer.Option(help="a population of the benchmark, or cost_efficiency")] = "none",
    users: int = 2000,
    requests: int = 50,
    judged: Annotated[int, typer.Option(help="answers of held-out users")] = 6000,
    seed: int = 0,
) -> None:
    """Print values by rewards known, and the gain of retraining with its 95 % interval over users."""
    torch.set_num_threads(1)
    current = Artifact(find_artifact(artifact, ARTIFACTS))
    embedder, outcomes = StaticEmbedder.load(current.folder / "embedder"), load_pool(pool)
    if shift == "cost_efficiency":
        people: Population = CostEfficiencyPopulation.over_nine(users, seed)
        made = MadeLog(outcomes, embedder, people, requests=requests, noise=0, thumbs=0, judged=0, seed=seed)
    else:
        people = simulate(seed, users, cast("Shift", shift))
        made = MadeLog(outcomes, embedder, people, requests=requests, seed=seed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl.gz"
        write_jsonl(path, made)
        log = read_logbook(open_log(str(path)), [made.tenant], embedder)
    base, options = base_of(current), Options(seed=seed)
    prepared, fade = prepare(log, current, base, embedder, None), current.manifest.forget.per_reward
    judging = held_out(log.users, options.held_out)
    fitted = fit(log, base, prepared, fade, judging, options, lambda *_: None)
    choices = choices_of(log, judging, most=judged, generator=np.random.default_rng(seed))
    truth = true_utility(made, log, choices.answer)

    def found(router: Router, evidence: NDArray[np.float64]) -> Replay:
        runner = TorchRunner(router)
        model = Model(runner, llm_states(runner, prepared.inputs, evidence), router.sizes.memory(fade))
        made = replay(model, log, choices.answer)
        return made.of(choices.answer)

    before, after = found(base.router, fitted.evidence_before), found(fitted.router, fitted.evidence)
    print("rewards known | answers | current | retrained | gain, 95 % | best possible")
    for low, high in BANDS:
        band = (before.rewards >= low) & (before.rewards <= high)
        if not band.any():
            continue
        old, new = (truth[np.arange(len(truth)), of.mean.argmax(1)][band] for of in (before, after))
        gain = estimate(Terms(new - old, np.ones(len(old))), choices.sample.cluster[band])
        reach = (gain.high - gain.low) / 2
        best = truth[band].max(1).mean()
        print(
            f"{low} to {min(high, requests - 1)} | {len(old):,} | {old.mean():+.4f} | {new.mean():+.4f} | "
            f"{gain.value:+.4f} +- {reach:.4f} | {best:+.4f}"
        )


if __name__ == "__main__":
    typer.run(main)
