"""`Router.edge` as few, wide operators: the same messages, and sums of them without making each.

A message is dense, what it is made of is not: two features of its answer (`plane` [2, K]) and some ten numbers. Sums
over rewards are products of matrices of these; `Router.edge` makes 2 K^2 numbers a reward first. Letters as in
`network.py`; U sums of M rewards each; R = 2: both readings of a rating (`Leniency`); S = 2: the answer was right, or
wrong. Symmetric 2 x 2 matrices are packed: [a, b, d].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.evidence import ERFC, RewardReading
from router_model.linalg import take
from router_model.network import FURTHEST_LOGIT, MOST_LOG_TOKENS, SATURATIONS, Router
from router_model.units import COST_CENTRE, COST_SCALE, LEAST_DOLLARS, LENGTH_CENTRE, LENGTH_SCALE

LEAST_EXPONENT = -500.0  # of a likelihood: smaller ones are nothing
SIGNS = [1.0, -1.0]


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
    offsets: Tensor
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
            made["offsets"] = torch.tensor([[0.0], [router.leniency.offset]], dtype=torch.double)
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

        noise, gain, dense, lenient, to_user, to_llm = self.kinds.index_select(0, kind).split(1, -1)
        wide = plane.double()
        covariance, expected = (wide @ self.population).split((k, 1), -1)
        covariance = covariance @ wide[..., :k].transpose(-1, -2)
        rewarded, likely, popular = reward.double(), quality.double().clamp(0.02, 0.98), popularity.double()
        at = self.projection.sides(expected.squeeze(-1), covariance, likely)
        precision, liking = self.moments.liking(at.utility, at.variance, at.chances, rewarded, noise, gain, dense)
        mean = at.utility.unsqueeze(-2) + (popular.unsqueeze(-1) + lenient.unsqueeze(-1) * self.offsets)
        each_kind = (x.unsqueeze(-1) for x in (rewarded, noise, gain, dense))
        said = self.projection(at, *self.moments(mean, at.variance.unsqueeze(-2), *each_kind))  # [N, 2, R, 3]

        dtype = reading.dtype
        weight = torch.relu(weight)
        user_weight = weight * to_user.to(dtype) * share
        clue = torch.cat([precision, liking - precision * popular], -1) * lenient
        small = torch.cat([clue, torch.cat([precision, liking], -1) * (1 - to_llm)], -1).to(dtype) * user_weight
        small = small.reshape(groups, each, 4).sum(1)
        rows = (said.flatten(-3).to(dtype) * user_weight).reshape(-1, 4, 3) @ ends  # [N, (2, R), K + 1]
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


class _Sides:
    """A reward's answer as right and as wrong: what is expected of u and v [N, 1, 1, 2], packed covariance [N, 1, 1,
    3]; of both sides [N, S] utility, variance and chance, and the way of u and v with utility [N, S, 2].
    """

    def __init__(
        self, expected: Tensor, packed: Tensor, utility: Tensor, variance: Tensor, chances: Tensor, step: Tensor
    ) -> None:
        self.expected, self.packed = expected, packed
        self.utility, self.variance, self.chances, self.step = utility, variance, chances, step


class _Projection(nn.Module):
    """From moments of the utility of both sides to the evidence about u and v (`RewardReading.forward`)."""

    of_mean: Tensor
    of_packed: Tensor
    packed: Tensor
    floor: Tensor
    row: Tensor
    column: Tensor
    turned: Tensor
    determinant: Tensor
    principal: Tensor
    trace: Tensor
    unpacked: Tensor
    apart: Tensor

    def __init__(self) -> None:
        super().__init__()
        sides = torch.tensor(SIGNS, dtype=torch.double)
        one, none = torch.ones(2, dtype=torch.double), torch.zeros(2, dtype=torch.double)
        made = {
            "of_mean": torch.stack([one, sides]),
            # variance of both sides, then pull of u and of v of each
            "of_packed": torch.stack(
                [
                    torch.cat([one, torch.stack([one, none], -1).flatten()]),
                    torch.cat([2 * sides, torch.stack([sides, one], -1).flatten()]),
                    torch.cat([one, torch.stack([none, sides], -1).flatten()]),
                ]
            ),
            "packed": torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [0, 0.5, 0], [0, 0, 1]]),
            "floor": 1e-6 * torch.tensor([1.0, 0, 1]),
            "row": torch.tensor([[1.0, 1, 0], [0, 0, 1]]),
            "column": torch.tensor([[1.0, 0, 0], [0, 1, 1]]),
            "turned": torch.tensor([[0.0, 0, 1], [0, -1, 0], [1, 0, 0]]),
            "determinant": torch.tensor([[0.5], [1], [0.5]]),
            "principal": torch.tensor([[0.5, 0.5, 0], [0, 0, 1], [0.5, -0.5, 0]]),
            "trace": torch.tensor([1.0, 0, 1]),
            "unpacked": torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]),
            "apart": torch.tensor([SIGNS]),
        }
        for name, value in made.items():
            self.register_buffer(name, value.double())

    def sides(self, expected: Tensor, covariance: Tensor, likely: Tensor) -> _Sides:
        """From means [N, 2] and covariance [N, 2, 2] of u and v, and how likely the answer is right [N, 1]."""
        packed = covariance.flatten(-2) @ self.packed + self.floor
        variance, pull = (packed @ self.of_packed).split((2, 4), -1)
        step = pull.reshape(-1, 2, 2) / variance.unsqueeze(-1)
        chances = torch.cat([likely, 1 - likely], -1)
        shape = (-1, 1, 1, 2), (-1, 1, 1, 3)
        return _Sides(
            expected.reshape(shape[0]), packed.reshape(shape[1]), expected @ self.of_mean, variance, chances, step
        )

    def forward(self, at: _Sides, evidence: Tensor, change: Tensor, shrink: Tensor) -> Tensor:
        """[N, 2, R, 3]: precision's rows, and information, from log evidence, change of the mean, loss of variance
        [N, R, S] of the utility.
        """
        share = torch.softmax(at.chances.log().unsqueeze(-2) + evidence, -1)
        step = at.step.unsqueeze(-3)  # [N, 1, S, 2]
        moved = step * change.unsqueeze(-1)  # [N, R, S, 2]
        centre = share.unsqueeze(-2) @ moved  # [N, R, 1, 2]
        lost = (share * shrink).unsqueeze(-2) @ self._outer(step)
        right, wrong = share.unsqueeze(-1).split(1, -2)
        spread = right * wrong * self._outer(self.apart @ moved)
        after = at.packed - lost + spread
        both = torch.cat([after, at.packed], -3)  # [N, R + 1, 1, 3]
        turned = both @ self.turned
        inverse, prior = (turned / ((both * turned) @ self.determinant)).split((2, 1), -3)
        gained = inverse - prior
        middle, half, across = (gained @ self.principal).split(1, -1)
        reach = (half * half + across * across + 1e-18).sqrt()
        least = middle - reach
        high, low = torch.relu(middle + reach), torch.relu(least)
        slope = (high - low) / (2 * reach)
        positive = slope * gained + (low - slope * least) * self.trace  # as `positive_part_2x2`
        square = (torch.cat([positive, prior], -3) @ self.unpacked).reshape(-1, 3, 2, 2)
        precision, before = square.split((2, 1), -3)
        information = (at.expected + centre) @ precision + centre @ before  # [N, R, 1, 2]
        return torch.cat([precision, information], -2).permute(0, 3, 1, 2)

    def _outer(self, x: Tensor) -> Tensor:
        return (x @ self.row) * (x @ self.column)


class _Moments(nn.Module):
    """`RewardReading.moments` as changes, and `Router.liking`."""

    nodes: Tensor
    powers: Tensor
    erfc: Tensor
    exponents: Tensor

    def __init__(self, reading: RewardReading) -> None:
        super().__init__()
        self.end = reading.end
        nodes = reading.nodes.double()
        weights = reading.log_weights.double().exp()
        made = {
            "nodes": nodes,
            "powers": torch.stack([weights, weights * nodes, weights * nodes * nodes], -1),
            "erfc": torch.tensor(ERFC, dtype=torch.double).unsqueeze(-1),
            "exponents": torch.arange(len(ERFC) - 1, -1, -1, dtype=torch.double),
        }
        for name, value in made.items():
            self.register_buffer(name, value.detach().clone())

    def forward(
        self, mean: Tensor, variance: Tensor, reward: Tensor, noise: Tensor, gain: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log evidence, change of the mean, loss of variance [N, R, S] of a utility, given rewards."""
        total = variance + noise
        apart = reward - mean
        per_total = variance / total
        squared = variance * per_total
        side = torch.sign(reward)
        scale = total.rsqrt()
        z = (side * mean - 1) * scale
        beyond = self._log_normal_cdf(z)
        drawn = torch.exp(-0.5 * (z * z) - beyond - 0.5 * math.log(2 * math.pi))
        known = (drawn * (drawn + z)).clamp(0, 1)
        inside = -0.5 * ((2 * math.pi * total).log() + apart * apart / total)
        cut = reward.abs() >= self.end

        deviation = variance.sqrt()
        at = mean.unsqueeze(-1) + deviation.unsqueeze(-1) * self.nodes  # [N, R, S, nodes]
        likelihood = torch.sigmoid(((gain * reward).unsqueeze(-1) * at).clamp(min=LEAST_EXPONENT))
        sums = likelihood @ self.powers
        whole, first, second = (x.squeeze(-1) for x in sums.split(1, -1))
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
        self,
        utility: Tensor,
        variance: Tensor,
        chances: Tensor,
        reward: Tensor,
        noise: Tensor,
        gain: Tensor,
        dense: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `Router.liking`; [N, 1] each, of both sides [N, S]."""
        flat = gain * (1 + math.pi / 8 * (gain * gain) * variance).rsqrt()
        p = torch.sigmoid(flat * utility)
        terms = torch.stack([p, flat * p * (1 - p), utility, utility * utility + variance], -1)
        up, slope, mean, second = (chances.unsqueeze(-2) @ terms).squeeze(-2).split(1, -1)
        spread = second + noise - mean * mean
        of_thumb = up * (1 - up)
        is_dense = dense > 0
        information = torch.where(is_dense, (reward - mean) / spread, slope * ((reward + 1) / 2 - up) / of_thumb)
        precision = torch.where(is_dense, 1 / spread, slope * slope / of_thumb)
        return precision, information

    def _log_normal_cdf(self, z: Tensor) -> Tensor:
        """As in `evidence.py`."""
        x = z.abs() * math.sqrt(0.5)
        t = 1 / (1 + 0.5 * x)
        polynomial = (t.unsqueeze(-1).pow(self.exponents) @ self.erfc).squeeze(-1)
        tail = (0.5 * t).log() - x * x + polynomial
        return torch.where(z < 0, tail, (1 - torch.exp(tail.clamp(max=-0.6))).log())


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
    """[kinds, 6]: noise, gain, 1 where dense, 1 where ratings may be lenient, factors on both messages."""
    reading = router.reading
    columns = [
        *(x.double().exp() for x in (reading.log_noise, reading.log_gain)),
        *(x.double() for x in (reading.dense, router.leniency.said, router.kind_user, router.kind_llm)),
    ]
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
