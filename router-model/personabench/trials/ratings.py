"""`trials --only ratings`: what is made of ratings at the end of their scale, and of raters who like nearly everything.

The variants differ in how an artifact's weights read rewards; nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from pathlib import Path

from torch import Tensor

from personabench.ablate import Ablated, Change
from personabench.bench.contestant import Known
from router_model.evidence import OFFSET, SHARE, SPREAD
from router_model.network import Router

NO_END = 2.0  # beyond any rating
NOBODY = 1e-9  # a share of raters


def lenient(width: float) -> Change:
    """A message then allows that each rating is higher or lower than utility by so many (standard deviation)."""

    def change(router: Router) -> None:
        read = router.reading.forward

        def forward(
            mean: Tensor, covariance: Tensor, quality: Tensor, reward: Tensor, kind: Tensor
        ) -> tuple[Tensor, Tensor]:
            wider = covariance.clone()
            wider[..., 0, 0] += width**2
            return read(mean, wider, quality, reward, kind)

        router.reading.forward = forward  # type: ignore[method-assign]

    return change


def raters(share: float, offset: float = OFFSET, spread: float = SPREAD) -> Change:
    """So many raters are thought to be lenient, and what of them."""

    def change(router: Router) -> None:
        router.leniency.share, router.leniency.offset, router.leniency.spread = share, offset, spread

    return change


def endless(router: Router) -> None:
    """A rating at the end of the scale is a rating like any other."""
    router.reading.end = NO_END


def both(*changes: Change) -> Change:
    """One after the other."""

    def change(router: Router) -> None:
        for one in changes:
            one(router)

    return change


def readings() -> dict[str, Change]:
    """Ways to read rewards."""
    made: dict[str, Change] = {
        "at face value": both(endless, raters(NOBODY)),
        "at face value, each may be off by 0.4": both(endless, raters(NOBODY), lenient(0.4)),
        "the scale has ends": raters(NOBODY),
        "the scale has ends, each may be off by 0.2": both(raters(NOBODY), lenient(0.2)),
        "the scale has ends, some raters are lenient (the model)": raters(SHARE),
    }
    made |= {f"the model, lenient by {offset}": raters(SHARE, offset) for offset in (0.35, 0.65)}
    made |= {f"the model, lenient are {share}": raters(share) for share in (0.03, 0.3)}
    made |= {f"the model, other tastes spread by {spread}": raters(SHARE, OFFSET, spread) for spread in (0.25,)}
    made |= {"the scale has ends, all raters are lenient": raters(1 - NOBODY)}
    return made


def routers(artifact: Path, known: Known) -> Iterator[tuple[str, Ablated]]:
    """One for each of `readings`; what they say of LLMs is the same, so that one of them may learn it for all."""
    first = Ablated(artifact, "first")
    first.fit(known)
    for name, change in readings().items():
        router = copy(first)
        router.artifact = Ablated(artifact, name, change).artifact
        yield name, router
