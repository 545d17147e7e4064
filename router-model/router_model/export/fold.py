"""`Router.score` as few, wide operators: the same numbers by matrix products.

A score of a dozen candidates is so little arithmetic that each operator's start counts. All that is linear is therefore
folded into matrices, made once of a router's weights. Letters as in `network.py`; n: width of what is known of a
request.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.network import GAIN, LEAST_VARIANCE, MOST_LOG_TOKENS, PARTS, SATURATIONS, Router
from router_model.units import COST_CENTRE, COST_SCALE, LEAST_DOLLARS, LENGTH_CENTRE, LENGTH_SCALE

ONE, QUALITY, COST, LENGTH = range(4)  # rows and columns of `AFFINE`
SATURATED = tuple(range(4, 4 + len(SATURATIONS)))  # further ones: shares, as they are
INPUTS = 4 + len(SATURATIONS)
# What `units.standard_quality`, `.standard_cost` and `.standard_length` make of 1, quality, log dollars and log tokens.
AFFINE = [
    [1.0, -1.0, -COST_CENTRE / COST_SCALE, -LENGTH_CENTRE / LENGTH_SCALE],
    [0.0, 2.0, 0.0, 0.0],
    [0.0, 0.0, 1 / (COST_SCALE * math.log(10)), 0.0],
    [0.0, 0.0, 0.0, 1 / LENGTH_SCALE],
]
CHANNELS = 4 + len(PARTS)  # logit of quality, log tokens, dollars of the prompt, dollars of a token, liking in its part


class FoldedScore(nn.Module):
    """A router's `score` with its weights as they are now."""

    hidden: Tensor
    seen: Tensor
    seen_bias: Tensor
    request: Tensor
    request_bias: Tensor
    shift: Tensor
    left: Tensor
    left_bias: Tensor
    codes: Tensor
    right: Tensor
    floor: Tensor
    part_of: Tensor
    saturated: Tensor

    def __init__(self, router: Router) -> None:
        """Reads the weights; later changes of them are not seen."""
        super().__init__()
        self.sizes = router.sizes
        self.width = router.sizes.quality + router.sizes.length + 3  # of z without its codes
        with torch.no_grad():
            made = {**_encoder(router), **_of_request(router), **_features(router)}
            made |= {"shift": router.features.quality_shift, "part_of": router.part_of}
            made["saturated"] = router.features.saturated
        for name, value in made.items():
            self.register_buffer(name, value.detach().clone())
        self.hidden_bias = router.encoder.hidden.bias

    def forward(
        self,
        query: Tensor,
        prompt_tokens: Tensor,
        state: Tensor,
        z: Tensor,
        cost_weight: Tensor,
        anchor: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """See `Router.score`. The anchor is scored as one more LLM, the last."""
        k = self.sizes.user
        z = torch.cat([z, z[:1] if anchor is None else anchor])
        known = self.known(query, prompt_tokens, cost_weight)
        of_llm, codes, _ = z.split((self.width, self.codes.shape[0], self.sizes.quality), -1)
        # How an LLM is read, the factors of phi that depend on the request alone, and which weights count.
        reading, factor, kept, given = torch.addmm(self.request_bias, known, self.request).split(
            (self.width * CHANNELS, k, k, k), -1
        )
        read = of_llm @ reading.reshape(-1, self.width, CHANNELS)  # [B, M, channels]
        logit, log_tokens, paid, rate, liking = read.split((1, 1, 1, 1, len(PARTS)), -1)
        quality = torch.sigmoid(logit + self.shift)
        log_tokens = log_tokens.clamp(0.0, MOST_LOG_TOKENS)
        tokens = log_tokens.exp()
        log_dollars = (paid + rate * tokens).clamp(min=LEAST_DOLLARS).log()
        basic = torch.cat([quality, log_dollars, log_tokens, torch.sigmoid(log_dollars - self.saturated)], -1)
        # Each feature is a product of two factors, each linear in `basic`.
        left = basic @ self.left + torch.addmm(self.left_bias, codes, self.codes)
        phi = left * torch.maximum(basic @ self.right + factor.unsqueeze(-2), self.floor)  # [B, M, K]
        learned, covariance = state.split((k, k * k), -1)
        covariance = covariance.reshape(-1, k, k)
        weights = learned * kept + given
        parts = ((phi * weights.unsqueeze(-2)) @ self.part_of + liking)[:, :-1]
        aside = (phi - phi[:, -1:])[:, :-1]
        phi = phi[:, :-1]
        std, apart = (((x @ covariance) * x).sum(-1).clamp(min=LEAST_VARIANCE).sqrt() for x in (phi, aside))
        reading = known[:, : self.sizes.reading]
        return parts.sum(-1), std, parts, quality[:, :-1, 0], tokens[:, :-1, 0], apart, reading

    def known(self, query: Tensor, prompt_tokens: Tensor, cost_weight: Tensor) -> Tensor:
        """[B, n]: probabilities of known tasks, latents before these add to them, prompt tokens, 1 where a cost weight
        was given, and which (0 where none).
        """
        s = self.sizes
        hidden = torch.relu(functional.linear(query, self.hidden, self.hidden_bias))
        both = functional.linear(torch.cat([hidden, query], -1), self.seen, self.seen_bias)
        logits, latent = both.split((s.known_tasks, s.difficulties + s.verbosities), -1)
        wanted = cost_weight.unsqueeze(-1)
        prompt = torch.relu(prompt_tokens.unsqueeze(-1))
        asked = (wanted >= 0).to(query.dtype)
        return torch.cat([torch.softmax(logits, -1), latent, prompt, asked, wanted.clamp(0.0, 1.0)], -1)


def _encoder(router: Router) -> dict[str, Tensor]:
    """The steps of `QueryEncoder.read` before its softmax."""
    encoder, hidden = router.encoder, router.sizes.hidden
    seen = torch.cat([encoder.task.weight, encoder.latent.weight[:, : hidden + router.sizes.query]])
    return {
        "hidden": encoder.hidden.weight * GAIN,
        "seen": torch.cat([seen[:, :hidden], seen[:, hidden:] * GAIN], -1),
        "seen_bias": torch.cat([encoder.task.bias, encoder.latent.bias]),
    }


def _of_request(router: Router) -> dict[str, Tensor]:
    """Matrix [n, ..] and bias that make of `FoldedScore.known` how an LLM is read [width, channels], a factor of phi
    [K] and weights of the features: kept share of the learned ones [K] and what is given instead [K].

    A given trade-off replaces all weights but the one that is the same for every candidate.
    """
    s, encoder, k = router.sizes, router.encoder, router.sizes.user
    latents = s.difficulties + s.verbosities
    prompt = s.known_tasks + latents
    asked, wanted, one, rows = prompt + 1, prompt + 2, prompt + 3, prompt + 4  # the last row becomes the bias
    new = encoder.group.new_zeros

    task = torch.eye(rows, s.known_tasks)
    group = torch.cat([encoder.group, new(rows - s.known_tasks, s.tasks)])
    of_task = encoder.latent.weight[:, s.hidden + s.query :].T * 4  # as in `QueryEncoder.read`
    latent = torch.cat([of_task, torch.eye(latents), new(4, latents)])
    difficulty, verbosity = latent.split((s.difficulties, s.verbosities), -1)

    reading = new(rows, s.quality + s.length + 3, CHANNELS)
    reading[:, : s.quality, 0] = torch.cat([task, difficulty], -1) * router.features.quality_scale
    reading[:, s.quality : -3, 1] = torch.cat([task, verbosity], -1)
    reading[prompt, -2, 2] = 1e-6
    reading[one, -1, 3] = 1e-6
    liking = 4 + PARTS.index("liking")
    reading[one, -3, liking], reading[asked, -3, liking] = 1, -1

    always = new(rows, 1)
    always[one] = 1
    by_task = torch.cat([always, group], -1).repeat(1, 3)
    factor = torch.cat([by_task, new(rows, k - by_task.shape[-1])], -1)
    kept, given = always.repeat(1, k), new(rows, k)
    factor[one] += _standardised(_right(router))[ONE]
    kept[asked] = -router.not_base
    given[asked], given[wanted] = router.quality_only, router.cost_for_quality
    made = torch.cat([reading.flatten(1), factor, kept, given], -1)
    return {"request": made[:one], "request_bias": made[one]}


def _features(router: Router) -> dict[str, Tensor]:
    """Matrices from quality, log dollars, log tokens and codes to the two factors of `UserFeatures`."""
    k = router.sizes.user
    codes = router.sizes.provider_code + router.sizes.name_code
    left, right = _standardised(_left(router)), _standardised(_right(router))
    floor = torch.full((k,), torch.finfo(left.dtype).min)
    bends = k - codes - len(SATURATIONS)
    floor[bends - 2 : bends] = 0  # hinges
    return {
        "left": left[QUALITY:],
        "left_bias": left[ONE],
        "codes": functional.pad(torch.eye(codes), (k - codes, 0)),
        "right": right[QUALITY:],
        "floor": floor,
    }


def _left(router: Router) -> list[int | None]:
    """One factor of each feature: one of 1, quality, cost and length; None: a code."""
    s = router.sizes
    linear = [name for name in (QUALITY, COST, LENGTH) for _ in range(1 + s.tasks)]
    codes = [None] * (s.provider_code + s.name_code)
    return [*linear, *router.features.first.tolist(), ONE, ONE, *SATURATED, *codes]


def _right(router: Router) -> list[int | None]:
    """The other factor; None: the task."""
    s = router.sizes
    codes = [ONE] * (s.provider_code + s.name_code)
    ones = [ONE] * len(SATURATIONS)
    return [*[None] * (3 * (1 + s.tasks)), *router.features.second.tolist(), COST, LENGTH, *ones, *codes]


def _standardised(which: list[int | None]) -> Tensor:
    """[inputs, K]: makes of 1, quality, log dollars, log tokens and shares the named ones, standardised; 0 where
    None.
    """
    columns = torch.block_diag(torch.tensor(AFFINE), torch.eye(len(SATURATIONS)))
    columns = torch.cat([columns, torch.zeros(INPUTS, 1)], -1)
    return columns[:, [INPUTS if name is None else name for name in which]]
