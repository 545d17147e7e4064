"""`Router.edge` as few, wide operators: the same messages, and sums of them without making each.

A message is dense, what it is made of is not: two features of its answer (`plane` [2, K]) and some ten numbers. Sums
over rewards are products of matrices of these; `Router.edge` makes 2 K^2 numbers a reward first. Letters as in
`network.py`; U sums of M rewards each; R = 2: both readings of a rating (`Leniency`); S = 2: the answer was right, or
wrong. Symmetric 2 x 2 matrices are packed: [a, b, d].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.evidence import ERFC, RewardReading
from router_model.linalg import take
from router_model.network import FURTHEST_LOGIT, MOST_LOG_TOKENS, SATURATIONS, Router
from router_model.units import COST_CENTRE, COST_SCALE, LEAST_DOLLARS, LENGTH_CENTRE, LENGTH_SCALE

LEAST_EXPONENT = -500.0  # of a likelihood: smaller ones are nothing
MOST_LIKELY = 0.98  # that an answer is right, or wrong

# Columns. R: readings; S: right, wrong; W, X: u, v; P: entries of a packed matrix.
SIGNS = [1.0, -1.0]
READINGS = SIDES = WAYS = (0, 1)
PACKED = ((0, 0), (0, 1), (1, 1))
DIAGONAL = ((0, 0), (1, 1))
FOUR = tuple(product(WAYS, WAYS))
RS = tuple(product(READINGS, SIDES))
RSW = tuple(product(READINGS, SIDES, WAYS))
RSP = tuple(product(READINGS, SIDES, PACKED))
RP = tuple(product(READINGS, PACKED))
RWX = tuple(product(READINGS, WAYS, WAYS))
BEFORE, INFORMATION = 2, 2
AFTER = tuple(product((BEFORE,), PACKED))
SAID = tuple(product(WAYS, READINGS, (0, 1, INFORMATION)))


def linear(columns: Sequence[Any], to: Sequence[Any], entry: Callable[[Any, Any], float]) -> Tensor:
    """Matrix [columns, to] of what each column counts in each of those that are made of them, float64."""
    return torch.tensor([[entry(one, other) for other in to] for one in columns], dtype=torch.double)


class FoldedEdge(nn.Module):
    """A router's `edge` with its weights as they are now."""

    asked: Tensor
    asked_bias: Tensor
    channels: Tensor
    channels_bias: Tensor
    slope: Tensor
    shift: Tensor
    saturated: Tensor
    seen: Tensor
    seen_bias: Tensor
    kinds: Tensor
    population: Tensor
    length_precision: Tensor
    user_places: Tensor
    llm_places: Tensor

    def __init__(self, router: Router) -> None:
        """Reads the weights; later changes of them are not seen."""
        super().__init__()
        self.sizes = router.sizes
        self.moments = _Moments(router.reading)
        self.projection = _Projection()
        with torch.no_grad():
            made = {**_channels(router), **_plane(router), **_places(router), "kinds": _kinds(router)}
            node = router.user_node
            believed = torch.cat([node.population_covariance, node.population_mean.unsqueeze(-1)], -1).double()
            made["population"] = functional.pad(believed, (0, 0, 0, 1))
            made["length_precision"] = torch.exp(-router.length_log_noise)
        for name, value in made.items():
            self.register_buffer(name, value.detach().clone())

    def forward(
        self,
        reading: Tensor,
        z: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        prompt_tokens: Tensor,
        completion_tokens: Tensor,
        cost_usd: Tensor,
        share: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `Router.edge`."""
        s, k = self.sizes, self.sizes.user
        groups, each = share.shape[0], share.shape[1]
        reward, weight, paid, prompt, written, share = (
            x.reshape(-1, 1) for x in (reward, weight, cost_usd, prompt_tokens, completion_tokens, share)
        )
        asked, by_task = torch.addmm(self.asked_bias, reading, self.asked).split((s.z, 1 + s.tasks), -1)
        channels = torch.addmm(self.channels_bias, asked * z, self.channels)
        logit, log_tokens, by_card, popularity, input_price, output_price = channels.split(1, -1)
        quality = torch.sigmoid(logit)
        known = written >= 0
        tokens = torch.where(known, written, log_tokens.clamp(0.0, MOST_LOG_TOKENS).exp())
        predicted = torch.relu(prompt) * input_price + tokens * output_price
        log_dollars = torch.where(paid >= 0, paid, predicted).clamp(min=LEAST_DOLLARS).log()
        log_written = tokens.clamp(min=1.0).log()
        basic = torch.cat([log_dollars, log_written], -1) * self.slope + self.shift  # cost and length
        of_tasks = (basic.unsqueeze(-1) * by_task.unsqueeze(-2)).flatten(-2)
        shares = torch.sigmoid(log_dollars - self.saturated)
        seen = torch.cat([by_task, of_tasks, basic, basic * basic, torch.relu(basic), shares, z], -1)
        # u, v and a row of its own for information: [N, 3, K + 1], whose last column is that row's.
        ends = torch.addmm(self.seen_bias, seen, self.seen).reshape(-1, 3, k + 1)
        plane = ends[:, :2]

        of_kind = self.kinds.index_select(0, kind).split((4, 4, 4, 4, 2, 2, *[1] * 6), -1)
        noises, gains, are_dense, offsets, gain, flatter, noise, dense, lenient, to_user, to_llm, not_to_llm = of_kind
        wide = plane.double()
        covariance, expected = (wide @ self.population).split((k, 1), -1)
        covariance = (covariance @ wide[..., :k].transpose(-1, -2)).flatten(-2)
        rewarded, popular = reward.double(), popularity.double()
        wrong = 1 - MOST_LIKELY
        most = math.log(MOST_LIKELY / wrong)
        likely = quality.double().clamp(wrong, MOST_LIKELY)
        at = self.projection.sides(expected.squeeze(-1), covariance, logit.double().clamp(-most, most), likely)
        precision, liking = self.moments.liking(at, rewarded, noise, gain, flatter, dense)
        mean = at.utilities + (offsets + popular)
        given = torch.cat([rewarded] * 4, -1)
        said = self.projection(at, *self.moments(mean, at.variances, given, noises, gains, are_dense))  # [N, SAID]

        dtype = reading.dtype
        weight = torch.relu(weight)
        user_weight = weight * to_user.to(dtype) * share
        clue = torch.cat([precision, liking - precision * popular], -1) * lenient
        small = torch.cat([clue, torch.cat([precision, liking], -1) * not_to_llm], -1).to(dtype) * user_weight
        small = small.reshape(groups, each, 4).sum(1)
        rows = (said.to(dtype) * user_weight).reshape(-1, 4, 3) @ ends  # [N, (2, R), K + 1]
        right = rows.reshape(groups, each * 2, 2 * (k + 1))
        left = plane.reshape(groups, each * 2, k + 1).transpose(-1, -2)
        to_user_all = take((left @ right).flatten(-2), self.user_places)

        # What outcomes say at the card's own logit (`outcome_terms`), and lengths where they are known.
        logit = by_card.clamp(-FURTHEST_LOGIT, FURTHEST_LOGIT)
        p = torch.sigmoid(logit)
        curvature = p * (1 - p)
        pull = curvature * logit + (reward + 1) / 2 - p
        llm_weight = weight * to_llm.to(dtype) * share
        length_weight = (known & (weight > 0)).to(dtype) * self.length_precision * share
        skills = asked[:, : s.quality + s.length]
        of_quality, of_length = skills.split((s.quality, s.length), -1)
        columns = torch.cat(
            [
                of_quality * (llm_weight * curvature),
                llm_weight * pull,
                of_length * length_weight,
                length_weight * log_written,
            ],
            -1,
        )
        outer = skills.reshape(groups, each, s.quality + s.length).transpose(-1, -2) @ columns.reshape(
            groups, each, s.quality + s.length + 2
        )
        to_llm_all = take(outer.flatten(-2), self.llm_places)
        return torch.cat([to_user_all, small[:, :2]], -1), torch.cat([to_llm_all, small[:, 2:]], -1)


@dataclass
class _Sides:
    """A reward's answer as right and as wrong, one row a reward, before it is heard. Columns as named at the top."""

    logit: Tensor  # [N, 1]: of being right
    chances: Tensor  # [N, S]
    utility: Tensor  # [N, S]
    variance: Tensor  # [N, S]
    utilities: Tensor  # [N, RS]
    variances: Tensor  # [N, RS]
    expected: Tensor  # [N, RWX]: of u and v, by X
    step: Tensor  # [N, RSW]: how u and v go with the utility
    before: Tensor  # [N, 9]: packed covariance of u and v, once for each reading and once more


class _Projection(nn.Module):
    """From moments of the utility of both sides to the evidence about u and v (`RewardReading.forward`).

    All that is linear is a product with a constant matrix, so that every row has its numbers side by side: operators
    that line up shapes cost as much as what they line up.
    """

    of_mean: Tensor
    of_covariance: Tensor
    of_covariance_bias: Tensor
    against: Tensor
    signs: Tensor
    widened: Tensor
    moves: Tensor
    weights: Tensor
    change: Tensor
    turned: Tensor
    determinant: Tensor
    of_inverse: Tensor
    each: Tensor
    trace: Tensor
    of_positive: Tensor
    of_information: Tensor

    def __init__(self) -> None:
        super().__init__()
        packed = linear(FOUR, PACKED, lambda x, p: float(x in {p, p[::-1]}) / (1 if p[0] == p[1] else 2))
        floor = 1e-6 * torch.tensor([[1.0, 0, 1]], dtype=torch.double)
        # Utility's variance of a side is u's, v's, and twice their covariance by its sign; so is what goes with it.
        of_packed = torch.cat(
            [
                linear(PACKED, SIDES, _variance),
                linear(PACKED, RS, lambda p, to: _variance(p, to[1])),
                linear(PACKED, RSW, lambda p, to: _variance(p, to[1])),
                linear(PACKED, RSW, lambda p, to: _pull(p, to[1], to[2])),
                linear(PACKED, RP + AFTER, lambda p, to: float(p == to[1])),
            ],
            -1,
        )
        made = {
            "of_mean": torch.cat(
                [
                    linear(WAYS, SIDES, lambda w, side: SIGNS[side] if w else 1.0),
                    linear(WAYS, RS, lambda w, to: SIGNS[to[1]] if w else 1.0),
                    linear(WAYS, RWX, lambda w, to: float(w == to[2])),
                ],
                -1,
            ),
            "of_covariance": packed @ of_packed,
            "of_covariance_bias": (floor @ of_packed).squeeze(0),
            "against": linear(RS, RS, lambda of, to: float(of[0] == to[0]) * (1.0 if of[1] == to[1] else -1.0)),
            "signs": torch.tensor([SIGNS * len(READINGS)], dtype=torch.double),
            # Changes of the mean, and their shares, for u and for v.
            "widened": torch.block_diag(*[linear(RS, RSW, lambda of, to: float(of == to[:2]))] * 2),
            # Of step, moved and share of moved: both factors of packed squares of step and of how far the sides are
            # apart, and the centre.
            "moves": torch.cat([_factor(0), _factor(1), _centre()], -1),
            "weights": torch.block_diag(
                linear(RS, RSP, lambda of, to: float(of == to[:2])),
                linear(RS, RP, lambda of, to: float(of == (to[0], 0))),
            ),
            "change": torch.cat(
                [
                    linear(RSP, RP + AFTER, lambda of, to: -float((of[0], of[2]) == to)),
                    linear(RP, RP + AFTER, lambda of, to: float(of == to)),
                ]
            ),
            "turned": _in_blocks(lambda p, to: -1.0 if p == to == (0, 1) else float({p, to} == {(0, 0), (1, 1)})),
            "determinant": _in_blocks(lambda p, _: 1.0 if p == (0, 1) else 0.5),
            # Of inverses after each reading and before: what was gained, its mean eigenvalue, half of what both are
            # apart along the axes and across; and the one before.
            "of_inverse": torch.cat(
                [
                    linear(RP + AFTER, RP, _gain),
                    linear(RP + AFTER, READINGS, lambda of, r: (_gain(of, (r, (0, 0))) + _gain(of, (r, (1, 1)))) / 2),
                    linear(
                        RP + AFTER,
                        READINGS,
                        lambda of, r: sum(
                            sign * _gain(of, (r, p)) / 2 for sign, p in zip(SIGNS, DIAGONAL, strict=True)
                        ),
                    ),
                    linear(RP + AFTER, READINGS, lambda of, r: _gain(of, (r, (0, 1)))),
                    linear(RP + AFTER, RWX, lambda of, to: float(of == (BEFORE, _sorted(to[1:])))),
                ],
                -1,
            ),
            "each": linear(READINGS, RP, lambda r, to: float(r == to[0])),
            "trace": linear(READINGS, RP, lambda r, to: float(r == to[0] and to[1] in DIAGONAL)),
            "of_positive": torch.cat(
                [
                    linear(RP, RWX, lambda of, to: float(of == (to[0], _sorted(to[1:])))),
                    linear(RP, SAID, lambda of, to: float(to[2] < INFORMATION and of == (to[1], _sorted(to[::2])))),
                ],
                -1,
            ),
            "of_information": linear(RWX, SAID, lambda of, to: float(to[2] == INFORMATION and of[:2] == to[1::-1])),
        }
        for name, value in made.items():
            self.register_buffer(name, value.double())

    def sides(self, expected: Tensor, covariance: Tensor, logit: Tensor, likely: Tensor) -> _Sides:
        """From means [N, 2] and covariance [N, 4] of u and v, and how likely the answer is right [N, 1]."""
        utility, utilities, by_way = (expected @ self.of_mean).split((2, 4, 8), -1)
        columns = torch.addmm(self.of_covariance_bias, covariance, self.of_covariance)
        variance, variances, of_way, pull, before = columns.split((2, 4, 8, 8, 9), -1)
        chances = torch.cat([likely, 1 - likely], -1)
        return _Sides(logit, chances, utility, variance, utilities, variances, by_way, pull / of_way, before)

    def forward(self, at: _Sides, evidence: Tensor, change: Tensor, shrink: Tensor) -> Tensor:
        """[N, SAID] from log evidence, change of the mean, loss of variance [N, RS] of the utility."""
        share = torch.sigmoid(evidence @ self.against + at.logit * self.signs)
        steps = torch.cat([at.step, at.step], -1)
        moved = (torch.cat([change, share * change], -1) @ self.widened) * steps
        one, other, centre = (torch.cat([at.step, moved], -1) @ self.moves).split((18, 18, 8), -1)
        weights = torch.cat([share * shrink, share - share * share], -1) @ self.weights
        both = at.before + (one * other * weights) @ self.change
        turned = both @ self.turned
        inverse = turned / ((both * turned) @ self.determinant)
        gained, middle, half, across, before = (inverse @ self.of_inverse).split((6, 2, 2, 2, 8), -1)
        reach = (half * half + across * across + 1e-18).sqrt()
        least = middle - reach
        high, low = torch.relu(middle + reach), torch.relu(least)
        slope = (high - low) / (2 * reach)
        positive = gained * (slope @ self.each) + (low - slope * least) @ self.trace  # as `positive_part_2x2`
        precision, rows = (positive @ self.of_positive).split((8, 12), -1)
        said: Tensor = rows + ((at.expected + centre) * precision + centre * before) @ self.of_information
        return said


class _Moments(nn.Module):
    """`RewardReading.moments` as changes, and `Router.liking`."""

    nodes: Tensor
    powers: Tensor
    erfc: Tensor
    exponents: Tensor
    mixed: Tensor

    def __init__(self, reading: RewardReading) -> None:
        super().__init__()
        self.end = reading.end
        nodes = reading.nodes.double()
        weights = reading.log_weights.double().exp()
        each, count = torch.eye(len(RS), dtype=torch.double), len(nodes)
        ends = torch.tensor(ERFC, dtype=torch.double).unsqueeze(-1).clone()
        ends[-1] += math.log(0.5)
        exponents = torch.arange(len(ERFC) - 1, -1, -1, dtype=torch.double).unsqueeze(0)
        made = {
            # Mean + deviation x node, of each mean and deviation.
            "nodes": torch.cat([torch.kron(each, torch.ones(1, count)), torch.kron(each, nodes.unsqueeze(0))]),
            "powers": torch.cat([torch.kron(each, (weights * nodes**power).unsqueeze(-1)) for power in range(3)], -1),
            "erfc": torch.kron(each, ends),
            "exponents": torch.kron(each, -exponents),
            "mixed": torch.kron(torch.eye(4), torch.ones(2, 1)),
        }
        for name, value in made.items():
            self.register_buffer(name, value.double().detach().clone())

    def forward(
        self, mean: Tensor, variance: Tensor, reward: Tensor, noise: Tensor, gain: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log evidence, change of the mean, loss of variance of a utility, given rewards; all [N, RS]."""
        total = variance + noise
        apart = reward - mean
        per_total = variance / total
        squared = variance * per_total
        side = torch.sign(reward)
        scale = total.rsqrt()
        z = (side * mean - 1) * scale
        half = 0.5 * (z * z)
        beyond = self._log_normal_cdf(z, half)
        drawn = torch.exp((-0.5 * math.log(2 * math.pi) - half) - beyond)
        known = (drawn * (drawn + z)).clamp(0, 1)
        inside = -0.5 * ((2 * math.pi * total).log() + apart * apart / total)
        cut = reward.abs() >= self.end

        deviation = variance.sqrt()
        told = gain * reward
        at = torch.cat([mean * told, deviation * told], -1) @ self.nodes  # [N, RS nodes]
        likelihood = torch.sigmoid(at.clamp(min=LEAST_EXPONENT))
        whole, first, second = (likelihood @ self.powers).split(4, -1)
        first = first / whole
        of_thumb = whole.log(), deviation * first, variance * (1 - second / whole + first * first)
        is_dense = dense > 0
        of_dense = (
            torch.where(cut, beyond, inside),
            torch.where(cut, side * variance * scale * drawn, per_total * apart),
            torch.where(cut, squared * known, squared),
        )
        evidence, change, shrink = (torch.where(is_dense, a, b) for a, b in zip(of_dense, of_thumb, strict=True))
        return evidence, change, shrink

    def liking(
        self, at: _Sides, reward: Tensor, noise: Tensor, gain: Tensor, flatter: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Router.liking`; [N, 1] each but for `gain`, and by how much variance makes it flatter [N, S]."""
        flat = gain * (1 + flatter * at.variance).rsqrt()
        p = torch.sigmoid(flat * at.utility)
        terms = torch.cat([p, flat * p * (1 - p), at.utility, at.utility * at.utility + at.variance], -1)
        up, slope, mean, second = ((terms * torch.cat([at.chances] * 4, -1)) @ self.mixed).split(1, -1)
        spread = second + noise - mean * mean
        of_thumb = up * (1 - up)
        is_dense = dense > 0
        information = torch.where(is_dense, (reward - mean) / spread, slope * ((reward + 1) / 2 - up) / of_thumb)
        precision = torch.where(is_dense, 1 / spread, slope * slope / of_thumb)
        return precision, information

    def _log_normal_cdf(self, z: Tensor, half: Tensor) -> Tensor:
        """As in `evidence.py`; `half`: z^2 / 2."""
        rising = (1 + 0.5 * math.sqrt(0.5) * z.abs()).log()  # of 1 / t
        tail = (rising @ self.exponents).exp() @ self.erfc - rising - half
        return torch.where(z < 0, tail, (1 - torch.exp(tail.clamp(max=-0.6))).log())


def _variance(packed: tuple[int, int], side: int) -> float:
    """Of an entry of u's and v's covariance in the variance of a side's utility."""
    return 1.0 if packed in DIAGONAL else 2 * SIGNS[side]


def _pull(packed: tuple[int, int], side: int, way: int) -> float:
    """Of such an entry in the covariance of u or v with that utility."""
    return float(packed == _sorted((way, 0))) + SIGNS[side] * float(packed == _sorted((way, 1)))


def _gain(of: tuple[int, tuple[int, int]], to: tuple[int, tuple[int, int]]) -> float:
    """Of an inverse in what a reading gained."""
    return float(of == to) - float(of == (BEFORE, to[1]))


def _factor(which: int) -> Tensor:
    """From step, moved and share of moved to a factor of the packed square of step and of what is between the sides."""
    step = linear(RSW, RSP, lambda of, to: float(of == (*to[:2], to[2][which])))
    apart = linear(RSW, RP, lambda of, to: SIGNS[of[1]] * float((of[0], of[2]) == (to[0], to[1][which])))
    return torch.cat([torch.block_diag(step, apart), torch.zeros(len(RSW), len(RSP) + len(RP))])


def _centre() -> Tensor:
    """From step, moved and share of moved to the mean of moved, for each number of the information."""
    mean = linear(RSW, RWX, lambda of, to: float((of[0], of[2]) == (to[0], to[2])))
    return torch.cat([torch.zeros(2 * len(RSW), len(RWX), dtype=torch.double), mean])


def _in_blocks(entry: Callable[[tuple[int, int], tuple[int, int]], float]) -> Tensor:
    """[9, 9]: the same for packed matrices after each reading and before."""
    three: Tensor = torch.block_diag(*[linear(PACKED, PACKED, entry)] * 3)
    return three


def _sorted(pair: tuple[int, ...]) -> tuple[int, int]:
    return min(pair), max(pair)


def _channels(router: Router) -> dict[str, Tensor]:
    """Matrices from a query's reading to what is asked of each number of z [Z] and to 1 and its groups of tasks, and
    from products of the former with z to logit of quality, log tokens, logit by the card, popularity and both prices.
    """
    s, encoder = router.sizes, router.encoder
    latents = s.difficulties + s.verbosities
    of_task = encoder.latent.weight[:, s.hidden + s.query :].T * 4  # as in `QueryEncoder.read`
    task = torch.eye(s.reading, s.known_tasks)
    latent = torch.cat([of_task, torch.eye(latents)])
    difficulty, verbosity = latent.split((s.difficulties, s.verbosities), -1)
    of_quality, of_length = torch.cat([task, difficulty], -1), torch.cat([task, verbosity], -1)
    group = torch.cat([encoder.group, encoder.group.new_zeros(latents, s.tasks)])
    codes = s.provider_code + s.name_code
    new = of_quality.new_zeros
    asked = [of_quality, of_length, new(s.reading, 3 + codes), of_quality, new(s.reading, 1), group]
    bias = new(s.z + 1 + s.tasks)
    talk = s.quality + s.length
    bias[talk : talk + 3] = 1
    bias[s.z] = 1
    channels = new(s.z, 6)
    channels[: s.quality, 0] = router.features.quality_scale
    channels[s.quality : talk, 1] = 1
    channels[-s.quality :, 2] = 1
    channels[talk, 3] = 1
    channels[talk + 1, 4] = channels[talk + 2, 5] = 1e-6
    channels_bias = new(6)
    channels_bias[0] = router.features.quality_shift[0]
    return {
        "asked": torch.cat(asked, -1),
        "asked_bias": bias,
        "channels": channels,
        "channels_bias": channels_bias,
    }


def _plane(router: Router) -> dict[str, Tensor]:
    """Matrix from what is seen of an answer to u, v and a row of its own, [.., 3 (K + 1)]; see `UserFeatures`."""
    s, features = router.sizes, router.features
    width, k = 1 + s.tasks, s.user
    codes = s.provider_code + s.name_code
    # 1 and groups, these times cost and length, cost and length, their squares, their hinges, shares, z.
    rows = 3 * width + 6 + len(SATURATIONS) + s.z
    seen, bias = torch.zeros(rows, 3, k + 1), torch.zeros(3, k + 1)
    u, v = 0, 1
    for i in range(width):
        seen[i, v, i] = 1
    for i in range(2 * width):
        seen[width + i, u, width + i] = 1
    cost, length = 3 * width, 3 * width + 1
    first, second = features.first.tolist(), features.second.tolist()
    for n, pair in enumerate(zip(first, second, strict=True)):
        at = 3 * width + n
        if pair == (0, 0):
            bias[u, at] = 1
        elif pair[0] == 1:
            seen[cost + pair[1] - 2, v, at] = 1
        else:
            seen[length + 1 + pair[0] - 2, u, at] = 1
    bends = 3 * width + len(first)
    for i in range(2 + len(SATURATIONS)):
        seen[3 * width + 4 + i, u, bends + i] = 1
    talk = s.quality + s.length + 3
    for i in range(codes):
        seen[rows - s.z + talk + i, u, k - codes + i] = 1
    bias[2, k] = 1
    return {
        "seen": seen.flatten(1),
        "seen_bias": bias.flatten(),
        "slope": torch.tensor([1 / (COST_SCALE * math.log(10)), 1 / LENGTH_SCALE]),
        "shift": torch.tensor([-COST_CENTRE / COST_SCALE, -LENGTH_CENTRE / LENGTH_SCALE]),
        "saturated": features.saturated,
    }


def _kinds(router: Router) -> Tensor:
    """[kinds, 26]: noise, gain, 1 where dense and what leniency adds [RS]; gain and how much variance makes it flatter
    [S]; noise, 1 where dense, 1 where ratings may be lenient, factors on both messages, what the latter lacks.
    """
    reading = router.reading
    noise, gain = reading.log_noise.double().exp(), reading.log_gain.double().exp()
    dense, lenient = reading.dense.double(), router.leniency.said.double()
    to_user, to_llm = router.kind_user.double(), router.kind_llm.double()
    added = lenient * router.leniency.offset
    columns = [*[noise] * 4, *[gain] * 4, *[dense] * 4, *[0 * added] * 2, *[added] * 2]
    columns += [*[gain] * 2, *[math.pi / 8 * gain * gain] * 2, noise, dense, lenient, to_user, to_llm, 1 - to_llm]
    return torch.stack(columns, -1)


def _places(router: Router) -> dict[str, Tensor]:
    """Where the numbers of messages lie in the products that give them, flat."""
    s, k = router.sizes, router.sizes.user
    width = 2 * (k + 1)
    rows, columns = torch.triu_indices(k, k)
    user = [torch.cat([rows * width + at + columns, torch.arange(k) * width + at + k]) for at in (0, k + 1)]
    llm = []
    width, at = s.quality + s.length + 2, 0
    for row, size in ((0, s.quality), (s.quality, s.length)):
        rows, columns = torch.triu_indices(size, size)
        llm += [(row + rows) * width + at + columns, (row + torch.arange(size)) * width + at + size]
        at += size + 1
    return {"user_places": torch.cat(user), "llm_places": torch.cat(llm)}
