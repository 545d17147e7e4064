"""The network, top to bottom: sizes, query encoder, features, LLM node, user node, messages, prediction, score.

A *query* is read as skills that it asks for. An *LLM* is a Gaussian belief over its skills (a Bayesian last layer:
Harrison et al. 2018, arXiv 1807.08912), from its card, its kin and outcomes. Both together predict quality, length and
cost of an answer, and a *user* sees these as features phi(query, LLM). A user is not a vector that gradient steps must
find but a belief over weights w of these features; the expected reward is w phi, its uncertainty phi' C phi. A *reward*
is evidence for both beliefs, a message along the edge between user and LLM; what a node gathers is the sum of its
messages. A message depends on no user's state, so a reward can be taken back, and replicas can add up their sums.

Letters: B requests, M candidates, N rewards (edges), T task groups, D quality features, L length features, K features
of a user, J components of the prior, W blocks of a user's messages; the rest as in ARTIFACT.md. How a reward is read
is in `evidence.py`, the score as the gateway runs it in `export/fold.py`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.evidence import Leniency, Memory, RewardReading
from router_model.kinds import KINDS
from router_model.linalg import inverse_and_logdet, pack, packed_outer, unpack
from router_model.units import COST_CENTRE, COST_SCALE, LEAST_DOLLARS, standard_cost, standard_length, standard_quality

PARTS = ("base", "quality", "cost", "length", "liking")  # of a score
SATURATIONS = (3e-4, 3e-3, 3e-2)  # dollars at which a cost counts half: what a linear dislike of dollars needs
NON_LINEAR = 6 + len(SATURATIONS)  # features of a user beside the linear ones: see `UserFeatures`
GAIN = 8.0  # of an embedding, whose entries are about 1/16
MOST_LOG_TOKENS = 10.37  # 32,000 tokens
FURTHEST_LOGIT = 3.0  # of a card, for reading outcomes: beyond it one outcome would say too much
LEAST_VARIANCE = 1e-10  # of a score
# What an artifact says of a user's tastes, in reward: see `UserFeatures.directions`.
TASTES = ("quality", "cost", "length")
# Names of kinds of people: see `priors.people`.
PEOPLE = ("usual", "dollars_low", "dollars_middle", "dollars_high")
CHANGE = 0.05  # prior odds that tastes changed between two blocks; a compromise on validation users (`trials`, changes)
# Strength of quality (at cost weight 0) and of cost (at 1), in units of reward, where a request gives a cost weight.
REQUESTED_QUALITY, REQUESTED_COST = 0.8, 0.2

# ------------------------------------------------------------------------------------------------------------- sizes


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that the manifest's `dims` name, and of what is inside the graphs."""

    query: int = 256  # E
    card: int = 36  # F
    provider_code: int = 8  # P
    name_code: int = 24  # C
    known_tasks: int = 18  # told apart in training
    tasks: int = 6  # T, groups of them: what a user's taste may depend on
    difficulties: int = 8
    verbosities: int = 4
    hidden: int = 128
    components: int = 4  # J
    kin: int = 64  # known LLMs that a new one may resemble
    blocks: int = 4  # W, of a user's messages: see `UserNode` and `Memory`
    block_rewards: int = 12
    people: int = 0  # kinds of people beside the usual ones
    tenants: int = 0  # kinds of tenants: how frequent each kind of people is among a tenant's users

    @property
    def reading(self) -> int:
        """Q: what is read in a query, and all that is kept of it."""
        return self.known_tasks + self.difficulties + self.verbosities

    @property
    def quality(self) -> int:
        """D."""
        return self.known_tasks + self.difficulties

    @property
    def length(self) -> int:
        """L."""
        return self.known_tasks + self.verbosities

    @property
    def user(self) -> int:
        """K: features of a (query, LLM) pair as a user sees it."""
        return 3 * (1 + self.tasks) + 1 + NON_LINEAR + self.provider_code + self.name_code

    @property
    def z(self) -> int:
        """Z: quality weights, length weights, popularity, two prices, two codes, and the card's own quality weights."""
        return self.quality + self.length + 3 + self.provider_code + self.name_code + self.quality

    @property
    def llm_message(self) -> int:
        """V: packed precision and information of quality, of length, and of popularity."""
        return sum(n * (n + 1) // 2 + n for n in (self.quality, self.length, 1))

    @property
    def belief(self) -> int:
        """Packed precision and information of the preference weights."""
        return self.user * (self.user + 1) // 2 + self.user

    @property
    def user_message(self) -> int:
        """G: what a reward says of the preference weights at face value, what it says if the rater is lenient, and two
        numbers about how lenient.
        """
        return 2 * self.belief + 2

    @property
    def user_sums(self) -> int:
        """H: sums of messages to a user, block by block."""
        return self.blocks * self.user_message

    @property
    def directions(self) -> int:
        """D: `TASTES`, then each number of the codes."""
        return len(TASTES) + self.provider_code + self.name_code

    @property
    def state(self) -> int:
        """S: posterior mean and covariance, unpacked because scoring would pay for unpacking it."""
        return self.user * (self.user + 1)

    def memory(self, fade: float) -> Memory:
        """How a user's messages are kept; `fade`: factor on what is known, before a message is added."""
        return Memory(self.blocks, self.block_rewards, fade)

    def as_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)


# ------------------------------------------------------------------------------------------------- query and features


class QueryEncoder(nn.Module):
    """Reads a query's embedding: features of quality [.., D], of length [.., L], and a soft task group [.., T].

    Features of quality and of length are the probabilities of the tasks that training knows, then latents of each. A
    softmax over tasks is what makes nine LLMs on 4,000 questions teach more than they do to a free multi-layer network.
    """

    group: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.sizes = sizes
        self.register_buffer("group", torch.full((sizes.known_tasks, sizes.tasks), 1.0 / sizes.tasks))
        read = sizes.hidden + sizes.query
        self.hidden = nn.Linear(sizes.query, sizes.hidden)
        self.task = nn.Linear(read, sizes.known_tasks)
        self.latent = nn.Linear(read + sizes.known_tasks, sizes.difficulties + sizes.verbosities)
        self.dropout = (0.0, 0.0)  # of the embedding and of the hidden layer, while training

    def read(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Task logits [.., known tasks] and latents [.., difficulties + verbosities]."""
        logits, latent = self._first(query)
        return logits, latent + self._of_task(torch.softmax(logits, -1).detach())

    def _first(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Task logits, and latents before the tasks add to them."""
        x = functional.dropout(query * GAIN, self.dropout[0], self.training)
        hidden = functional.dropout(torch.relu(self.hidden(x)), self.dropout[1], self.training)
        read = torch.cat([hidden, x], -1)
        latent = functional.linear(read, self.latent.weight[:, : read.shape[-1]], self.latent.bias)
        return self.task(read), latent

    def _of_task(self, task: Tensor) -> Tensor:
        return 4 * functional.linear(task, self.latent.weight[:, self.sizes.hidden + self.sizes.query :])

    def reading(self, query: Tensor) -> Tensor:
        """All that is kept of a query [.., Q]: probabilities of known tasks, latents before these add to them."""
        logits, latent = self._first(query)
        return torch.cat([torch.softmax(logits, -1), latent], -1)

    def of_reading(self, reading: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From what `reading` returns to what `forward` returns."""
        task, latent = reading.split((self.sizes.known_tasks, self.sizes.reading - self.sizes.known_tasks), -1)
        return self._features(task, latent + self._of_task(task))

    def features(self, logits: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From what `read` returns to what `forward` returns."""
        return self._features(torch.softmax(logits, -1), latent)

    def _features(self, task: Tensor, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        difficulty, verbosity = latent.split((self.sizes.difficulties, self.sizes.verbosities), -1)
        group = task @ self.group
        return torch.cat([task, difficulty], -1), torch.cat([task, verbosity], -1), group

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of quality [.., D], of length [.., L], and a soft task group [.., T] of embeddings [.., E]."""
        return self.features(*self.read(query))


class UserFeatures(nn.Module):
    """phi(query, llm) [.., K]: [quality, cost, length] x [1, task], 1, some non-linear ones, vendor and name codes.

    Quality, cost and length enter standardised; codes are random signatures, so that likings of single LLMs and vendors
    need no table of LLMs and work for LLMs that training never saw.
    """

    first: Tensor
    saturated: Tensor
    second: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.sizes = sizes
        # pairs of [1, quality, cost, length] whose products are features: 1, and what a linear preference can't say
        self.register_buffer("first", torch.tensor([0, 1, 1, 2, 3]), persistent=False)
        self.register_buffer("second", torch.tensor([0, 2, 3, 2, 3]), persistent=False)
        self.register_buffer("saturated", torch.tensor([math.log(usd) for usd in SATURATIONS]), persistent=False)
        self.quality_scale = nn.Parameter(torch.ones(1))
        self.quality_shift = nn.Parameter(torch.zeros(1))

    def quality(self, logit: Tensor) -> Tensor:
        """Probability of a good answer from the LLM node's logit."""
        return torch.sigmoid(self.quality_scale * logit + self.quality_shift)

    def standardise(self, quality: Tensor, cost: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quality 0..1, dollars, tokens, any equal shapes, to the units of preference weights."""
        log_dollars = torch.log(cost.clamp(min=LEAST_DOLLARS))
        return standard_quality(quality), standard_cost(log_dollars), standard_length(torch.log(tokens.clamp(min=1.0)))

    def forward(self, quality: Tensor, cost: Tensor, length: Tensor, task: Tensor, codes: Tensor) -> Tensor:
        """All but `task` [.., T], which broadcasts, and `codes` [.., P + C] of one shape [..]; linear in quality, so
        that the expected feature is the feature of the expected quality.
        """
        basic = torch.stack([quality, cost, length], -1)
        with_task = functional.pad(task, (1, 0), value=1.0)
        outer = (basic.unsqueeze(-1) * with_task.unsqueeze(-2)).flatten(-2)
        with_one = functional.pad(basic, (1, 0), value=1.0)
        products = with_one.index_select(-1, self.first) * with_one.index_select(-1, self.second)
        # a budget and an ideal length
        hinges = torch.relu(basic[..., 1:])
        saturating = torch.sigmoid(log_dollars_of(cost).unsqueeze(-1) - self.saturated)
        return torch.cat([outer, products, hinges, saturating, codes], -1)

    def directions(self) -> Tensor:
        """[D, K]: what a right answer is worth instead of a wrong one, $0.0003 instead of $0.003, 300 tokens instead of
        150, each else as usual, and each number of the codes: times the weights, in reward.
        """
        s = self.sizes
        quality = torch.tensor([1.0, 0.0, *[0.75] * 4])
        dollars = torch.tensor([3e-4, 3e-4, 3e-4, 3e-3, 3e-4, 3e-4])
        tokens = torch.tensor([150.0, 150.0, 150.0, 150.0, 300.0, 150.0])
        seen = self.standardise(quality, dollars, tokens)
        codes = s.provider_code + s.name_code
        phi = self(*seen, torch.full((6, s.tasks), 1 / s.tasks), torch.zeros(6, codes))
        of_codes = torch.cat([torch.zeros(codes, s.user - codes), torch.eye(codes)], -1)
        return torch.cat([phi[0::2] - phi[1::2], of_codes])

    def part_of(self) -> Tensor:
        """[K, R]: 1 where a feature belongs to a part of the score."""
        s = self.sizes
        width = 1 + s.tasks
        parts = [1] * width + [2] * width + [3] * width
        parts += [0, 2, 3, 2, 3, 2, 3, *[2] * len(SATURATIONS)] + [4] * (s.provider_code + s.name_code)
        return functional.one_hot(torch.tensor(parts), len(PARTS)).float()


# --------------------------------------------------------------------------------------------------------------- nodes


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; zero rows stay zero."""
    return x / x.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()


class Belief(nn.Module):
    """A Gaussian belief over an LLM's weights of n features: prior mean from the card, precision shared by all LLMs."""

    kin_text: Tensor
    kin_weights: Tensor
    kin_sharpness: Tensor
    kin_mask: Tensor
    doubt: Tensor
    gain: Tensor

    def __init__(self, sizes: Sizes, features: int) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.features = features
        self.card = nn.Linear(sizes.card, features)
        self.register_buffer("kin_text", torch.zeros(sizes.kin, sizes.query))
        self.register_buffer("kin_weights", torch.zeros(sizes.kin, features))
        self.register_buffer("kin_sharpness", torch.tensor(8.0))
        self.register_buffer("kin_mask", torch.ones(sizes.query))
        # Of the card's features: how unsure the ability is that the card's weights start from.
        self.register_buffer("doubt", torch.zeros(sizes.card))
        # What a weight changes with ability.
        self.register_buffer("gain", torch.zeros(features))
        # Lower factor of the prior precision: what one LLM's skills say of its other skills.
        self.factor = nn.Parameter(torch.eye(features))

    def prior_mean(self, card: Tensor, text: Tensor) -> Tensor:
        """Weights [M, n] before any outcome: the card's, moved by what is known of LLMs with alike descriptions."""
        likeness = torch.exp(self.kin_sharpness * (unit(text * self.kin_mask) @ self.kin_text.T - 1))
        mean: Tensor = self.card(card) + likeness @ self.kin_weights
        return mean

    def set_kin(self, text: Tensor, weights: Tensor, sharpness: float, mask: Tensor) -> None:
        """Remembers known LLMs: embedded descriptions [M, E] and what each adds to its kin [M, n].

        `mask` [E] is 0 for those dimensions of an embedding that are no part of its meaning (length, symbols).
        """
        if len(text) > len(self.kin_text):
            raise ValueError(f"{len(text)} known LLMs, but room for {len(self.kin_text)} (sizes.kin)")
        self.kin_mask.copy_(mask)
        self.kin_text.zero_()[: len(text)] = unit(text * mask)
        self.kin_weights.zero_()[: len(weights)] = weights
        self.kin_sharpness.fill_(sharpness)

    def prior_precision(self, card: Tensor) -> Tensor:
        """[M, n, n]: that of all LLMs, less what the doubt about an ability takes away along `gain`."""
        factor, gain = self.factor.double().tril(), self.gain.double()
        precision = factor @ factor.T
        along = precision @ gain
        variance = (card @ self.doubt).double().square()
        share = variance / (1 + variance * (gain @ along))
        return precision - share.unsqueeze(-1).unsqueeze(-1) * torch.outer(along, along)

    def forward(self, card: Tensor, text: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean [M, n] given sums of messages [M, n (n + 1) / 2 + n], and the prior mean [M, n]."""
        n = self.features
        packed, information = evidence.double().split((n * (n + 1) // 2, n), -1)
        mean = self.prior_mean(card, text)
        covariance, _ = inverse_and_logdet(self.prior_precision(card) + unpack(packed, n))
        # The correction is zero, exactly, where there is no evidence.
        target = information - (unpack(packed, n) @ mean.double().unsqueeze(-1)).squeeze(-1)
        correction: Tensor = (covariance @ target.unsqueeze(-1)).squeeze(-1).to(mean.dtype)
        return mean + correction, mean


class LlmNode(nn.Module):
    """z of an LLM: what its card makes us expect, corrected by the outcomes seen (logits of quality, log tokens)."""

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.sizes = sizes
        self.quality = Belief(sizes, sizes.quality)
        self.length = Belief(sizes, sizes.length)
        self.popularity_log_precision = nn.Parameter(torch.tensor(5.5))

    def forward(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        """z [M, Z] from cards [M, F], embedded descriptions [M, E], codes [M, P] and [M, C], prices [M, 2] and sums of
        messages [M, V].
        """
        d, length = self.sizes.quality, self.sizes.length
        of_quality, of_length, of_liking = evidence.split(
            (d * (d + 1) // 2 + d, length * (length + 1) // 2 + length, 2), -1
        )
        popularity = of_liking[:, 1:] / (of_liking[:, :1] + self.popularity_log_precision.exp())
        (quality, by_card), (talk, _) = self.quality(card, text, of_quality), self.length(card, text, of_length)
        return torch.cat([quality, talk, popularity, price, provider_code, name_code, by_card], -1)


class UserNode(nn.Module):
    """The belief over a user's preference weights, from the sums of messages, which come in blocks by age.

    Tastes change: any block may be the first that speaks of the present ones, and older blocks are a stranger's then.
    So the belief is a mixture of one Gaussian for each such block, weighted by how likely both parts are as words of
    two strangers, against all as words of one person (Bayesian detection of change points: Adams & MacKay 2007, arXiv
    0710.3742). Each starts from the population as one Gaussian, that of a mixture of J that training fits.

    There are other kinds of people than the usual ones, each a Gaussian, too. Whoever has never changed may be of any:
    the sums of all blocks tell by their evidence, in closed form. Who changed is read as one of the usual people.
    Others' ratings are taken at face value, and so are the usual people's where kinds are compared, with the chance
    that they are lenient for what it is worth (`Leniency`): a high rating must not count for both.
    How frequent each kind is depends on the tenant, and a tenant is one of a few kinds of tenants: each user tells how
    much more probable their words are at a tenant of each kind than at any, and the sum of these logarithms is all that
    must be kept of a tenant. What one user says is bounded by the least frequent kind of people.
    """

    population_mean: Tensor
    population_covariance: Tensor
    others_mean: Tensor
    others_covariance: Tensor
    log_share: Tensor
    log_tenant: Tensor
    precision: Tensor
    pull: Tensor
    split: Tensor
    log_odds: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.sizes, self.change = sizes, CHANGE
        self.log_weight = nn.Parameter(torch.zeros(sizes.components))
        self.mean = nn.Parameter(torch.zeros(sizes.components, sizes.user))
        # lower factor of each component's precision; the exponential of its diagonal is used
        self.factor = nn.Parameter(torch.zeros(sizes.components, sizes.user, sizes.user))
        # The population as one Gaussian: what a message takes for granted of its user.
        self.register_buffer("population_mean", torch.zeros(sizes.user))
        self.register_buffer("population_covariance", torch.eye(sizes.user))
        # Other kinds of people; how frequent all kinds are at a tenant of each kind, the usual people first; and how
        # frequent kinds of tenants are.
        many, keep = sizes.people, sizes.people > 0
        self.register_buffer("others_mean", torch.zeros(many, sizes.user), persistent=keep)
        self.register_buffer("others_covariance", torch.eye(sizes.user).repeat(many, 1, 1), persistent=keep)
        self.register_buffer("log_share", torch.zeros(sizes.tenants, 1 + many), persistent=keep)
        self.register_buffer("log_tenant", torch.zeros(sizes.tenants), persistent=keep)
        for name, values in self._derived().items():
            self.register_buffer(name, values, persistent=False)
        self.register_load_state_dict_post_hook(_derive)

    def _derived(self) -> dict[str, Tensor]:
        """Buffers that follow from the population and the sizes."""
        blocks, people = self.sizes.blocks, self.sizes.people
        mean = torch.cat([self.population_mean.unsqueeze(0), self.others_mean]).double()
        covariance = torch.cat([self.population_covariance.unsqueeze(0), self.others_covariance]).double()
        precision = torch.linalg.inv(covariance)
        pull = (precision @ mean.unsqueeze(-1)).squeeze(-1)
        newest = torch.ones(blocks, blocks, dtype=torch.double, device=mean.device).tril()
        # Evidence is measured from that of no words at all. A change adds an earlier self, of the usual people.
        silence = 0.5 * ((mean * pull).sum(-1) - torch.logdet(precision))
        log_odds = (math.log(self.change) - silence[0]).repeat(blocks)
        log_odds[-1] = 0.0
        # Of the sums [W, G]: the newest block, the newest two, .., all; all for each other kind; all but the newest,
        # .., the oldest. At face value: for other kinds, and, once more, all for the usual one.
        parts = [newest, newest[-1:].expand(people, -1), 1 - newest[:-1]]
        kinds = [torch.zeros(blocks), torch.arange(people) + 1, torch.zeros(blocks - 1)]
        if people:
            usual, others, earlier = parts
            none = torch.zeros_like(usual)
            read = [functional.pad(usual, (0, blocks)), functional.pad(others, (blocks, 0))]
            parts = [*read, functional.pad(earlier, (0, blocks)), torch.cat([none, usual], -1)[-1:]]
            kinds.append(torch.zeros(1))
        split, kind = torch.cat(parts), torch.cat(kinds).long()
        return {
            "precision": precision[kind],
            "pull": pull[kind],
            "split": split,
            # Nobody's silence speaks for a kind: the usual people have had their chances of a change, too.
            "log_odds": torch.cat([log_odds, silence[0] - silence[1:] + math.log1p((blocks - 1) * self.change)]),
        }

    def derive(self) -> None:
        """Call after changing the population's mean or covariance, the sizes or the odds of a change."""
        for name, values in self._derived().items():
            setattr(self, name, values)

    def summarise(self) -> None:
        """Recomputes the population's mean and covariance from the mixture; call after changing the prior."""
        with torch.no_grad():
            weight, mean = torch.softmax(self.log_weight.double(), -1), self.mean.double()
            centre, covariance = mixed(weight, mean, torch.linalg.inv(self.prior_precision()))
            self.population_mean.copy_(centre)
            self.population_covariance.copy_(covariance)
            self.derive()

    def prior_precision(self) -> Tensor:
        """[J, K, K]."""
        lower = self.factor.double().tril(-1) + torch.diag_embed(self.factor.double().diagonal(dim1=-2, dim2=-1).exp())
        return lower @ lower.transpose(-1, -2)

    def moments(self, sums: Tensor, tenant: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean [B, K] and covariance [B, K, K] of the belief, float64, given packed precisions and information
        [B, W, belief] of the W blocks, newest first; and how probable it is [B, W] that tastes have been the same for
        one block, for two, .., always. `tenant` as for `believed`.
        """
        return self.believed(sums, tenant)[:3]

    def believed(
        self, sums: Tensor, tenant: Tensor | None = None, face_value: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As `moments`; how probable it is that they are of each kind of people [B, 1 + people]; and what they tell of
        their tenant [B, tenants]. `tenant` [B, tenants]: sum of what users of the same tenant told. `face_value`: what
        `Leniency.at_face_value` returns, by default `sums` themselves.
        """
        k, blocks, people = self.sizes.user, self.sizes.blocks, self.sizes.people
        plain, may_be_lenient = (sums, sums.new_zeros(len(sums), 1)) if face_value is None else face_value
        both = torch.cat([sums, plain], -2) if people else sums
        packed, information = (self.split @ both.double()).split((k * (k + 1) // 2, k), -1)
        covariance, logdet = inverse_and_logdet(self.precision + unpack(packed, k))
        target = information + self.pull
        posterior = (covariance @ target.unsqueeze(-1)).squeeze(-1)  # [B, 2 W - 1 + people, and 1 for them, K]
        evidence = 0.5 * ((posterior * target).sum(-1) - logdet)
        present, earlier, read_plainly = evidence.split((blocks + people, blocks - 1, min(people, 1)), -1)
        log_weight = present + functional.pad(earlier, (0, 1 + people)) + self.log_odds
        kinds, told = torch.ones_like(log_weight[..., :1]), log_weight[..., :0]
        if people:
            usual, others = log_weight.split((blocks, people), -1)
            usual = usual + (read_plainly - present[..., blocks - 1 : blocks]) + may_be_lenient.double()
            by_kind = torch.cat([torch.logsumexp(usual, -1, keepdim=True), others], -1)
            known = self.log_tenant.double() if tenant is None else self.log_tenant + tenant.double()
            share, anywhere = self._shares(known), self._shares(self.log_tenant.double())
            of_each = torch.logsumexp(by_kind.unsqueeze(-2) + self.log_share, -1)
            told = of_each - torch.logsumexp(by_kind + anywhere, -1, keepdim=True)
            first, rest = share.split((1, people), -1)
            log_weight = torch.cat([usual + first, others + rest], -1)
            kinds = torch.softmax(by_kind + share, -1)
        probability = torch.softmax(log_weight, -1)
        many = blocks + people
        mean, spread = mixed(probability, posterior[..., :many, :], covariance[..., :many, :, :])
        since = probability
        if people:
            always = probability[..., blocks - 1 :].sum(-1, keepdim=True)
            since = torch.cat([probability[..., : blocks - 1], always], -1)
        return mean, spread, since, kinds, told

    def _shares(self, known: Tensor) -> Tensor:
        """Logarithm of how frequent each kind of people is [.., 1 + people], from that of each kind of tenant."""
        return torch.logsumexp(torch.log_softmax(known, -1).unsqueeze(-1) + self.log_share, -2)


def _derive(node: nn.Module, _: object) -> None:
    assert isinstance(node, UserNode)
    node.derive()


def mixed(weight: Tensor, means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [.., K] and covariance [.., K, K] of a mixture of Gaussians: weight [.., J], mean [.., J, K], covariance
    [.., J, K, K].
    """
    k = means.shape[-1]
    mean = (weight.unsqueeze(-2) @ means).squeeze(-2)
    apart = means - mean.unsqueeze(-2)
    within = (weight.unsqueeze(-2) @ covariances.flatten(-2)).unflatten(-1, (k, k)).squeeze(-3)
    between = (apart * weight.unsqueeze(-1)).transpose(-1, -2) @ apart
    return mean, within + between


# -------------------------------------------------------------------------------------------------------------- router


def log_dollars_of(cost: Tensor) -> Tensor:
    """Natural logarithm of dollars from `standard_cost`."""
    return (cost + COST_CENTRE / COST_SCALE) * (COST_SCALE * math.log(10))


def outcome_terms(logit: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and information about a logit that one outcome gives, linearised at the card's own `logit`.

    p (1 - p) and p (1 - p) logit + y - p with y = (reward + 1) / 2: one step of Newton from the card, so a strong LLM
    rises to its truth. The card's logit, unlike the believed one, never changes: messages can be taken back.
    """
    at = logit.clamp(-FURTHEST_LOGIT, FURTHEST_LOGIT)
    p = torch.sigmoid(at)
    curvature = p * (1 - p)
    return curvature, curvature * at + (reward + 1) / 2 - p


def predicted_tokens(log_tokens: Tensor) -> Tensor:
    """Reply length from its logarithm, kept between 1 and 32,000 tokens."""
    return log_tokens.clamp(0.0, MOST_LOG_TOKENS).exp()


def requested_weights(sizes: Sizes) -> dict[str, Tensor]:
    """Where a request gives its own cost weight: weights [K] at 0, their change to 1, and which of the learned go."""
    width = 1 + sizes.tasks
    quality_only, cost_for_quality, not_base = torch.zeros(sizes.user), torch.zeros(sizes.user), torch.ones(sizes.user)
    quality_only[0] = REQUESTED_QUALITY
    cost_for_quality[0], cost_for_quality[width] = -REQUESTED_QUALITY, -REQUESTED_COST
    not_base[3 * width] = 0.0
    return {"quality_only": quality_only, "cost_for_quality": cost_for_quality, "not_base": not_base}


class Router(nn.Module):
    """All four graphs over shared weights; `llm`, `edge`, `user` and `score` are what is exported."""

    kind_user: Tensor
    kind_llm: Tensor
    part_of: Tensor
    directions: Tensor
    not_base: Tensor
    quality_only: Tensor
    cost_for_quality: Tensor

    def __init__(self, sizes: Sizes) -> None:
        """Allocates; values come from training or from `priors`."""
        super().__init__()
        self.sizes = sizes
        self.encoder = QueryEncoder(sizes)
        self.llm_node = LlmNode(sizes)
        self.features = UserFeatures(sizes)
        self.user_node = UserNode(sizes)
        self.reading = RewardReading()
        self.leniency = Leniency(sizes.belief)
        kinds = len(KINDS)
        # How much of a message each kind sends: 1 from a rating to the user, from an outcome to the LLM.
        self.register_buffer("kind_user", torch.ones(kinds))
        self.register_buffer("kind_llm", torch.zeros(kinds))
        self.register_buffer("part_of", self.features.part_of(), persistent=False)
        self.register_buffer("directions", self.features.directions().double(), persistent=False)
        self.length_log_noise = nn.Parameter(torch.tensor([-1.0]))
        by_request = requested_weights(sizes)
        for name, values in by_request.items():
            self.register_buffer(name, values, persistent=False)

    def split_z(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Quality weights, length weights, popularity, price, codes, quality weights by the card alone."""
        s = self.sizes
        parts = z.split((s.quality, s.length, 1, 2, s.provider_code + s.name_code, s.quality), -1)
        quality, length, popularity, price, codes, by_card = parts
        return quality, length, popularity.squeeze(-1), price, codes, by_card

    def llm(
        self, card: Tensor, text: Tensor, provider_code: Tensor, name_code: Tensor, price: Tensor, evidence: Tensor
    ) -> Tensor:
        """z [M, Z]."""
        z: Tensor = self.llm_node(card, text, provider_code, name_code, price, evidence)
        return z

    def edge(
        self,
        reading: Tensor,
        z: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        prompt_tokens: Tensor,
        completion_tokens: Tensor,
        cost_usd: Tensor,
        share: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Messages of N rewards: to the user [N, G], to the LLM [N, V]. Negative tokens or cost: not known.

        `reading` [N, Q]: of the queries, by `QueryEncoder.reading`. `share` [U, M]: sums of so many messages in a row,
        each by its share, instead of messages; N = U M.
        """
        return self._messages(
            False, reading, z, reward, kind, weight, prompt_tokens, completion_tokens, cost_usd, share
        )

    def edge_to_llm(self, **told: Tensor) -> Tensor:
        """Messages to the LLM alone, [N, V], from the inputs of `edge`: those to the user are most of the work."""
        return self._messages(True, **told)[1]

    def _messages(
        self,
        llm_alone: bool,
        reading: Tensor,
        z: Tensor,
        reward: Tensor,
        kind: Tensor,
        weight: Tensor,
        prompt_tokens: Tensor,
        completion_tokens: Tensor,
        cost_usd: Tensor,
        share: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `edge`; `llm_alone`: [N, 0] to the user."""
        of_quality, of_length, task = self.encoder.of_reading(reading)
        quality_weights, length_weights, popularity, price, codes, by_card = self.split_z(z)
        quality = self.features.quality((of_quality * quality_weights).sum(-1))
        known = completion_tokens >= 0
        tokens = torch.where(known, completion_tokens, predicted_tokens((of_length * length_weights).sum(-1)))
        paid = (prompt_tokens.clamp(min=0.0) * price[:, 0] + tokens * price[:, 1]) * 1e-6
        _, cost, length = self.features.standardise(quality, torch.where(cost_usd >= 0, cost_usd, paid), tokens)
        one = torch.ones_like(cost)
        right = self.features(one, cost, length, task, codes).double()
        wrong = self.features(-one, cost, length, task, codes).double()
        weight = weight.clamp(min=0.0).double()
        plane = torch.stack([(right + wrong) / 2, (right - wrong) / 2], -2)  # [N, 2, K]: of u and of v
        expected = plane @ self.user_node.population_mean.double()
        covariance = plane @ self.user_node.population_covariance.double() @ plane.transpose(-1, -2)
        covariance = covariance + 1e-6 * torch.eye(2, dtype=covariance.dtype, device=covariance.device)
        chance = quality.double().clamp(0.02, 0.98)
        user_weight = (weight * self.kind_user[kind]).unsqueeze(-1)
        popularity, offsets = popularity.double(), self.leniency.offsets(kind)
        precision, information = self.liking(expected, covariance, chance, reward.double(), kind)
        message = user_weight[:, :0]
        if not llm_alone:
            readings = self.to_user(plane, expected, covariance, chance, reward.double(), kind, popularity + offsets)
            lenient = self.leniency.evidence(precision, information, popularity, kind)
            message = user_weight * torch.cat([readings[0], readings[1], lenient], -1)
        liking = user_weight * (1 - self.kind_llm[kind]).unsqueeze(-1) * torch.stack([precision, information], -1)

        llm_weight = (weight * self.kind_llm[kind]).to(reading.dtype).unsqueeze(-1)
        curvature, pull = outcome_terms((of_quality * by_card).sum(-1, keepdim=True), reward.unsqueeze(-1))
        length_weight = (known & (weight > 0)).to(reading.dtype).unsqueeze(-1) * torch.exp(-self.length_log_noise)
        log_tokens = torch.log(completion_tokens.clamp(min=1.0)).unsqueeze(-1)
        to_llm = [
            llm_weight * curvature * packed_outer(of_quality),
            llm_weight * pull * of_quality,
            length_weight * packed_outer(of_length),
            length_weight * log_tokens * of_length,
            liking.to(reading.dtype),
        ]
        messages = message.to(reading.dtype), torch.cat(to_llm, -1)
        if share is None:
            return messages
        to_user, to_llms = (torch.einsum("um,umn->un", share, x.unflatten(0, tuple(share.shape))) for x in messages)
        return to_user, to_llms

    def to_user(
        self,
        plane: Tensor,
        expected: Tensor,
        covariance: Tensor,
        chance: Tensor,
        reward: Tensor,
        kind: Tensor,
        offset: Tensor,
    ) -> Tensor:
        """Packed precision and information [.., N, belief] about the weights.

        `plane` [N, 2, K]: features of u and v (see `RewardReading`), of which the population expects `expected` [N, 2]
        with `covariance` [N, 2, 2]. `offset` [.., N]: the part of u that is not this user's: popularity and leniency.
        """
        shift = torch.stack([offset, torch.zeros_like(offset)], -1)
        precision, information = self.reading(expected + shift, covariance, chance, reward, kind)
        information = information - (precision @ shift.unsqueeze(-1)).squeeze(-1)
        whole = plane.transpose(-1, -2) @ precision @ plane
        return torch.cat([pack(whole, self.sizes.user), (information.unsqueeze(-2) @ plane).squeeze(-2)], -1)

    def liking(
        self, expected: Tensor, covariance: Tensor, chance: Tensor, reward: Tensor, kind: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Precision and information [N] about popularity: how much more an LLM is liked than its answer explains.

        A single user's tastes are noise here. One step of Fisher scoring from zero; a sigmoid averaged over that
        noise is a flatter sigmoid (MacKay 1992).
        """
        noise, gain = self.reading.log_noise.double().exp()[kind], self.reading.log_gain.double().exp()[kind]
        mean = second = slope = up = torch.zeros_like(chance)
        for sign, share in ((1.0, chance), (-1.0, 1 - chance)):
            utility = expected[:, 0] + sign * expected[:, 1]
            variance = covariance[:, 0, 0] + 2 * sign * covariance[:, 0, 1] + covariance[:, 1, 1]
            flat = gain / torch.sqrt(1 + math.pi / 8 * gain.square() * variance)
            p = torch.sigmoid(flat * utility)
            up, slope = up + share * p, slope + share * flat * p * (1 - p)
            mean, second = mean + share * utility, second + share * (utility.square() + variance + noise)
        dense = self.reading.dense[kind] > 0
        spread = second - mean * mean
        information = torch.where(dense, (reward - mean) / spread, slope * ((reward + 1) / 2 - up) / (up * (1 - up)))
        precision = torch.where(dense, 1 / spread, slope.square() / (up * (1 - up)))
        return precision, information

    def user(self, sums: Tensor, tenant: Tensor | None = None) -> Tensor:
        """State [B, S]."""
        return self.described(sums, tenant)[0]

    def described(self, sums: Tensor, tenant: Tensor | None = None) -> tuple[Tensor, ...]:
        """State [B, S]; what is believed of a user's tastes in words: mean [B, D] and covariance [B, D, D] of what each
        of `UserFeatures.directions` is worth to them; since when they have had these tastes [B, W], see `moments`; of
        which kind of people they are [B, J] and what they tell of their tenant [B, Y], see `UserNode.believed`.
        """
        blocks = sums.unflatten(-1, (self.sizes.blocks, self.sizes.user_message))
        mean, covariance, since, kinds, told = self.believed(blocks, tenant)
        state = torch.cat([mean, covariance.flatten(-2)], -1)
        taste = mean @ self.directions.T
        spread = self.directions @ covariance @ self.directions.T
        made = (state, taste, spread, since, *((kinds, told) if self.sizes.people else ()))
        return tuple(x.to(sums.dtype) for x in made)

    def believed(self, sums: Tensor, tenant: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """See `UserNode.believed`, from sums of messages in blocks [B, W, G]."""
        return self.user_node.believed(self.leniency(sums), tenant, self.leniency.at_face_value(sums))

    def predict(self, query: Tensor, prompt_tokens: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Not personal: quality [B, M], dollars [B, M], log of reply tokens [B, M], soft task group [B, T]."""
        of_quality, of_length, task = self.encoder(query)
        quality_weights, length_weights, _, price, _, _ = self.split_z(z)
        quality = self.features.quality(of_quality @ quality_weights.T)
        log_tokens = (of_length @ length_weights.T).clamp(0.0, MOST_LOG_TOKENS)
        rates = price.T * 1e-6
        cost = prompt_tokens.clamp(min=0.0).unsqueeze(-1) * rates[0] + log_tokens.exp() * rates[1]
        return quality, cost, log_tokens, task

    def phi(self, query: Tensor, prompt_tokens: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, M, K] of each answer that may come, its quality [B, M] and log of its tokens [B, M]."""
        quality, dollars, log_tokens, task = self.predict(query, prompt_tokens, z)
        *_, codes, _ = self.split_z(z)
        seen = self.features.standardise(quality, dollars, log_tokens.exp())
        return self.features(*seen, task.unsqueeze(1), codes.expand(len(query), -1, -1)), quality, log_tokens

    def score(
        self,
        query: Tensor,
        prompt_tokens: Tensor,
        state: Tensor,
        z: Tensor,
        cost_weight: Tensor,
        anchor: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mean [B, M], std [B, M], parts [B, M, R], quality [B, M], completion tokens [B, M] of queries [B, E] by users
        in states [B, S], the deviation [B, M] of the difference to the LLM whose z is `anchor` [1, Z], the first by
        default, and what was read in the queries [B, Q]. A cost weight [B] of 0..1 replaces what was learned of the
        user, a negative one doesn't.
        """
        phi, quality, log_tokens = self.phi(query, prompt_tokens, z)
        popularity = self.split_z(z)[2]
        k = self.sizes.user
        learned, covariance = state[:, :k], state[:, k:].unflatten(-1, (k, k))
        asked = (cost_weight >= 0).unsqueeze(-1)
        given = self.quality_only + cost_weight.clamp(0, 1).unsqueeze(-1) * self.cost_for_quality
        weights = torch.where(asked, learned * (1 - self.not_base) + given, learned)  # [B, K]
        liking = torch.where(asked, torch.zeros_like(popularity), popularity)  # [B, M]

        parts = (phi * weights.unsqueeze(1)) @ self.part_of  # [B, M, R]
        parts[..., PARTS.index("liking")] += liking
        variance = torch.einsum("bmk,bkl,bml->bm", phi, covariance, phi)
        usual, _, _ = self.phi(query, prompt_tokens, z[:1] if anchor is None else anchor)
        aside = torch.einsum("bmk,bkl,bml->bm", phi - usual, covariance, phi - usual)
        std, apart = (x.clamp(min=LEAST_VARIANCE).sqrt() for x in (variance, aside))
        return parts.sum(-1), std, parts, quality, log_tokens.exp(), apart, self.encoder.reading(query)
