"""`python -m personabench trials`: what else was tried with an artifact, on validation users and folds.

Do predictions of quality deserve more or less weight than they have? Should a user's choice be more cautious, at what
price? How fast should ratings fade, and how loud should they be? How likely are changes of taste? What do messages lose
by knowing nothing of the user? Are raters lenient, and do they run out of scale? Test users and folds are not read.
Letters: U users, R judged queries, M LLMs, K preference weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from personabench.bench.artifact_router import ArtifactRouter
from personabench.bench.contestant import Known
from personabench.bench.episode import FLIP_LENGTHS, Judgement, Setup, make_episode, pick
from personabench.bench.own_belief import own_beliefs
from personabench.heads import HeadsConfig
from personabench.metrics import share_worse_off
from personabench.trials.changes import believed, messages_of
from personabench.trials.ratings import routers
from router_model.data.pools import load_pool
from router_model.data.population import Shift
from router_model.data.simulation import Feedback, History
from router_model.network import Router
from router_model.places import DATA
from router_model.train.weights import WEIGHTS_FILE, load_weights

Floats = NDArray[np.float32]
NO_HEADS = HeadsConfig(networks=1, epochs=1)  # the artifact reads queries itself
AFTER = (0, 5, 20, 100)
ALL = "caution,changes,fading,inference,quality,ratings"


@dataclass(frozen=True)
class View:
    """How a router sees a judgement's queries."""

    judgement: Judgement
    router: ArtifactRouter
    phi: Floats
    """[R, M, K]"""
    usual: Floats
    """[M, K]: mean over train queries."""
    popularity: Floats
    """[M]"""

    @property
    def features(self) -> int:
        """K."""
        return int(self.phi.shape[-1])

    def mean(self, weights: Floats) -> Floats:
        """Expected rewards [U, R, M] by weights [U, K]."""
        flat = weights @ self.phi.reshape(-1, self.features).T
        return np.asarray(flat.reshape(len(weights), *self.phi.shape[:2]) + self.popularity, dtype=np.float32)

    def worth(self, scores: Floats, n: int) -> tuple[float, float, float]:
        """Gained and possible utility of the best scores [U, R, M], and the share of users worse off."""
        utility, counted = self.judgement.utility(n), self.judgement.counted
        chosen, single = pick(utility, scores), utility[..., self.judgement.best_single]
        gained, possible = ((x - single)[counted].sum() for x in (chosen, utility.max(-1)))
        return float(gained), float(possible), share_worse_off(chosen, single, counted)


def view(judgement: Judgement, known: Known, router: ArtifactRouter, weights: Router) -> View:
    """Reads the queries."""
    phi, popularity = _features(judgement.rows, router, weights, known)
    usual, _ = _features(known.train[::4], router, weights, known)
    return View(judgement, router, phi, usual.mean(0), popularity)


def _features(rows: NDArray[np.int64], router: ArtifactRouter, weights: Router, known: Known) -> tuple[Floats, Floats]:
    query, prompt, z = (torch.as_tensor(x) for x in (router.query[rows], known.pool.prompt_tokens[rows], router.z))
    with torch.no_grad():
        phi, _, _ = weights.phi(query, prompt, z)
        popularity = weights.split_z(z)[2]
    return phi.numpy(), popularity.numpy()


Rule = Callable[[Floats, Floats, Floats], Floats]
"""Scores [U, R, M] from expected rewards [U, R, M], their deviation from that of everybody's favourite, and how much
everybody likes an LLM [M]."""


def rules() -> dict[str, Rule]:
    """Ways to be cautious."""

    def margin(least: float) -> Rule:
        return lambda mean, apart, _: mean - (apart > 0).astype(np.float32) * np.float32(least)

    def lower_bound(width: float) -> Rule:
        return lambda mean, apart, _: mean - np.float32(width) * apart

    def popular(share: float) -> Rule:
        return lambda mean, _, liked: mean + np.float32(share) * liked

    made: dict[str, Rule] = {"highest expected reward": lambda mean, _apart, _liked: mean}
    made |= {f"leave everybody's favourite for {x} more": margin(x) for x in (0.02, 0.04, 0.06)}
    made |= {f"less {x} deviations from everybody's favourite": lower_bound(x) for x in (0.15, 0.25, 0.35, 0.5)}
    made |= {f"plus {x} x what everybody thinks of the LLM": popular(x) for x in (0.25, 0.5)}
    return made


def caution(seen: View) -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """Every rule after some numbers of requests."""
    k, history = seen.features, seen.judgement.history
    new = seen.router.states(history.first(0))[0]
    liked = seen.usual @ new[:k] + seen.popularity
    favourite = int(liked.argmax())
    contrast = (seen.phi - seen.phi[:, favourite : favourite + 1]).reshape(-1, k)
    for n in AFTER:
        states = seen.router.states(history.first(n))
        factors = np.linalg.cholesky(states[:, k:].reshape(-1, k, k) + 1e-9 * np.eye(k, dtype=np.float32))
        apart = np.stack([np.sqrt(((contrast @ factor) ** 2).sum(-1)) for factor in factors])
        apart = apart.reshape(len(states), *seen.phi.shape[:2])
        mean = seen.mean(states[:, :k])
        for name, rule in rules().items():
            yield name, n, seen.worth(rule(mean, apart, liked - liked.mean()), n)


LOUDNESS = ((1.0, 1.0), (1.0, 0.998), (1.0, 0.995), (1.0, 0.99), (1.0, 0.98), (0.7, 0.995), (0.5, 1.0), (1.4, 0.99))
"""Factor on every message, and what older ones are multiplied by when a new one comes."""


def _lengths(history: History, shift: Shift) -> list[int]:
    judged = FLIP_LENGTHS if shift == "flip" else (5, 20, 50, 100)
    return [n for n in judged if n <= history.query.shape[1]]


def fading(seen: View, shift: Shift) -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """Every loudness and forgetting, with blocks and changes of taste as the artifact has them."""
    history, memory = seen.judgement.history, seen.router.memory
    lengths = _lengths(history, shift)
    messages = messages_of(seen.router, history, max(lengths))
    users = len(messages[0])
    for loud, forget in LOUDNESS:
        sums, faded = seen.router.nothing(users), replace(memory, fade=forget)
        for n, message in enumerate(messages, 1):
            sums = faded.add(sums, np.float32(loud) * message, np.full(users, n - 1))
            if n in lengths:
                weights = seen.router.believe(sums)[:, : seen.features]
                yield f"message x {loud}, older ones x {forget}", n, seen.worth(seen.mean(weights), n)


def changes(seen: View, shift: Shift, artifact: Path) -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """Every way to keep messages so that a change of taste can be found, from every start."""
    lengths = _lengths(seen.judgement.history, shift)
    found = [
        (name, n, states[:, : seen.features].copy())
        for name, n, states in believed(seen.router, artifact, seen.judgement.history, lengths)
    ]
    for name, n, weights in sorted(found, key=lambda x: x[1]):  # true tastes are made anew for each length
        yield name, n, seen.worth(seen.mean(weights), n)


def inference(seen: View, weights: Router) -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """Sums of messages against the same evidence read with every user's own belief."""
    for n in (m for m in AFTER if m):
        history = seen.judgement.history.first(n)
        sums = seen.router.states(history)[:, : seen.features]
        yield "sums of messages", n, seen.worth(seen.mean(sums), n)
        own = own_beliefs(seen.router, weights, history)
        yield "every message knows the user's own belief", n, seen.worth(seen.mean(own), n)


RATED = (5, 20, 50, 100)


def ratings(
    seen: View, judgement: Judgement, router: ArtifactRouter
) -> Iterator[tuple[int, tuple[float, float, float]]]:
    """One way to read rewards, for users of one shift."""
    judged = replace(seen, judgement=judgement)
    for n in RATED:
        yield n, judged.worth(judged.mean(router.states(judgement.history.first(n))[:, : seen.features]), n)


def shrunken(weights: Router, router: ArtifactRouter, known: Known, rows: NDArray[np.int64], truth: Floats) -> str:
    """Log loss of predicted quality where what is peculiar to a (query, LLM) pair counts more or less."""
    query, prompt, z = (torch.as_tensor(x) for x in (router.query[rows], known.pool.prompt_tokens[rows], router.z))
    with torch.no_grad():
        logit = torch.logit(weights.predict(query, prompt, z)[0]).double()
    additive = logit.mean(0, keepdim=True) + logit.mean(1, keepdim=True) - logit.mean()
    target = torch.as_tensor(truth).double()
    cells = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(additive + share * (logit - additive), target)
        cells.append(f"{share}: {loss.item():.4f}")
    return ", ".join(cells)


class _Table:
    """Means over seeds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.cells: dict[str, dict[int, list[tuple[float, float, float]]]] = {}

    def add(self, found: Iterator[tuple[str, int, tuple[float, float, float]]]) -> None:
        for name, n, worth in found:
            self.cells.setdefault(name, {}).setdefault(n, []).append(worth)

    def markdown(self) -> str:
        lengths = list(next(iter(self.cells.values())))
        lines = [f"**{self.title}**: gap closed / users worse off than with the best single LLM", ""]
        lines += ["| after n requests | " + " | ".join(map(str, lengths)) + " |"]
        lines += ["| --- |" + " ---: |" * len(lengths)]
        for name, row in self.cells.items():
            shown = [_shown(np.array(row[n])) for n in lengths]
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
        return "\n".join([*lines, ""])


def _shown(worths: NDArray[np.float64]) -> str:
    gained, possible, worse = worths.sum(0)
    return f"{gained / possible:.3f} / {100 * worse / len(worths):.0f} %"


def trials(
    artifact: Annotated[Path, typer.Option(help="artifact folder")],
    pools: Annotated[str, typer.Option(help="comma-separated")] = "zeroeval,llmrouter",
    data: Annotated[Path, typer.Option(help="where the pools' folders are")] = DATA,
    feedback: Annotated[str, typer.Option(help="dense, thumbs")] = "dense,thumbs",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    only: Annotated[str, typer.Option(help=f"some of {ALL}")] = ALL,
    out: Annotated[Path, typer.Option(help="folder for the tables")] = Path("runs/trials"),
) -> None:
    """Print what more caution, other fading, other weights of quality and so on would change on validation users."""
    torch.set_num_threads(1)
    weights, console = load_weights(artifact / WEIGHTS_FILE), Console()
    parts: list[str] = []
    for name in pools.split(","):
        pool = load_pool(name, data)
        for kind in cast("list[Feedback]", feedback.split(",")):
            moving: Mapping[str, Mapping[str, _Table]] = {
                trial: {shift: _Table(f"{name}, {kind}, {trial}, {shift}") for shift in ("none", "drift", "flip")}
                for trial in ("changes", "fading")
            }
            cautious, inferred = _Table(f"{name}, {kind}, caution"), _Table(f"{name}, {kind}, inference")
            read: Mapping[str, _Table] = {
                shift: _Table(f"{name}, {kind}, ratings, {shift}") for shift in ("none", "satisfied")
            }
            for seed in range(seeds):
                setup = Setup(name, kind, seed, lengths=(0, 100))
                episode = make_episode(setup, pool, heads=NO_HEADS)
                router = ArtifactRouter(artifact, caution=0.0)
                router.fit(episode.known)
                seen = view(episode.validation, episode.known, router, weights)
                if "caution" in only:
                    cautious.add(caution(seen))
                if "ratings" in only:
                    judgements = {shift: episode.validation_of(cast(Shift, shift)) for shift in read}
                    for way, reader in routers(artifact, episode.known):
                        for shift, judged in judgements.items():
                            read[shift].add((way, n, worth) for n, worth in ratings(seen, judged, reader))
                if "inference" in only:
                    inferred.add(inference(seen, weights))
                for trial, tried in (("changes", partial(changes, artifact=artifact)), ("fading", fading)):
                    for shift, table in moving[trial].items() if trial in only else ():
                        judged = episode.validation_of(cast(Shift, shift))
                        table.add(tried(replace(seen, judgement=judged), cast(Shift, shift)))
            told = []
            if "quality" in only and kind == "dense":
                rows = episode.validation.rows
                found = shrunken(weights, router, episode.known, rows, pool.quality[rows])
                told.append(f"{name}: log loss where what is peculiar to a (query, LLM) pair counts {found}.\n")
            every = (cautious, inferred, *moving["changes"].values(), *moving["fading"].values(), *read.values())
            told += [table.markdown() for table in every if table.cells]
            console.print("\n".join(told))
            parts += told
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.md").write_text("\n".join(parts), encoding="utf-8")
