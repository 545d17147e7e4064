"""PersonalizedRouter (arXiv 2511.16883) in the four graphs of an artifact: learned layers on users, queries and LLMs.

A *query* node is what was read in it and its soft task; an *LLM* node is its card. The first layer tells a query node
of the LLM that answered and of the edge between both (reward, cost, length). The second tells the user of their
queries, and the LLM of the queries that it answered: mean aggregation, of which sums and counts are kept, so that a
message can be taken back and a user whom training never saw is a node like any other (GraphSAGE: Hamilton et al.
2017). A score is the paper's dot product. What differs from the paper: no embedding of a user's id, for which a new
user would need gradient steps (the first of these is in the message); states of queries are not changed by other
users; a message to an LLM reads the LLM's card alone, not its state, so that it is always the same. A few networks,
each trained on other draws of the users, tell how sure a score is.

Letters: B requests, M candidates, N rewards, X networks, H numbers of a node's state; the rest as in ARTIFACT.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.kinds import REWARD_KINDS
from router_model.network import LEAST_VARIANCE, MOST_LOG_TOKENS, REQUESTED_COST, REQUESTED_QUALITY, QueryEncoder, Sizes
from router_model.units import LEAST_DOLLARS, standard_cost, standard_length, standard_quality

PARTS = ("base", "question", "user", "quality", "cost")  # of a score
EDGE = 5  # features of an edge: reward, cost, length, whether the length is known, whether the reward is a score
USUAL_LOG_TOKENS = 5.0
TEXT_GAIN = 4.0  # of a description's embedding, whose length is 1
LEAST_DEVIATION = 0.02  # of a score: networks that agree may all be wrong
CLIP = 4.0  # of a query's features, in deviations
STRONGEST = max(kind.strength for kind in REWARD_KINDS if not kind.dense)


@dataclass(frozen=True)
class NetworkSizes:
    """What data doesn't decide."""

    hidden: int = 32  # H
    networks: int = 3  # X


class Network(nn.Module):
    """One network: nodes, two layers, decoders."""

    def __init__(self, encoder: Sizes, hidden: int) -> None:
        """`encoder`: sizes of what reads queries, and of cards."""
        super().__init__()
        h, features = hidden, encoder.quality + encoder.verbosities
        self.hidden = h
        self.align_query = nn.Linear(features, h)
        self.task = nn.Parameter(0.1 * torch.randn(encoder.known_tasks, h))
        self.align_card = nn.Linear(encoder.card + 2 + encoder.provider_code, h)
        self.align_text = nn.Linear(encoder.query, h, bias=False)
        self.first = nn.Linear(2 * h + EDGE, h)
        self.to_user = nn.Linear(2 * h + EDGE + 1, h)
        self.to_llm = nn.Linear(h + EDGE, h)
        self.see_llm = nn.Linear(3 * h, h)
        self.update_llm = nn.Linear(h, h)
        self.see_user = nn.Linear(h, h)
        self.update_user = nn.Linear(h, h)
        self.new_user = nn.Parameter(torch.zeros(h))
        # Interactions that say nothing, in a mean: how far one alone is believed.
        self.user_doubt = nn.Parameter(torch.tensor(1.0))
        self.llm_doubt = nn.Parameter(torch.tensor(2.0))
        self.decode = nn.Sequential(nn.Linear(3 * h, h), nn.ReLU(), nn.Linear(h, h))
        self.decode_answer = nn.Sequential(nn.Linear(2 * h, h), nn.ReLU(), nn.Linear(h, 2 * h))
        self.direct = nn.Linear(h, h, bias=False)  # of a user's state past the decoder's hidden layer
        self.level = nn.Linear(h, 3)
        self.drop, self.drop_text = nn.Dropout(0.2), nn.Dropout(0.5)

    def query(self, features: Tensor) -> Tensor:
        """State [.., H] of a query node from standardised features."""
        made: Tensor = self.align_query(self.drop(features))
        return made

    def card(self, card: Tensor, text: Tensor, provider_code: Tensor, price: Tensor) -> Tensor:
        """State [M, H] of an LLM node before any interaction."""
        rates = torch.log10(price.clamp(min=1e-3))
        said = self.align_card(torch.cat([card, rates, provider_code], -1))
        made: Tensor = said + self.align_text(self.drop_text(text * TEXT_GAIN))
        return made

    def asked(self, query: Tensor, llm: Tensor, edge: Tensor) -> Tensor:
        """First layer: a query node [N, H] of an interaction hears its LLM [N, H] and the edge [N, EDGE]."""
        return query + torch.relu(self.first(torch.cat([query, llm, edge], -1)))

    def said_of_user(self, query: Tensor, task: Tensor, llm: Tensor, edge: Tensor) -> Tensor:
        """Message to the user [N, H]: beside the query node, how far the reward was off, and that times the LLM, which
        is the first of the gradient steps that the paper takes for a new user.
        """
        off = (edge[:, :1] - self.pairs(self.new_user_state().expand_as(query), query, task, llm)).detach()
        made: Tensor = self.to_user(torch.cat([self.asked(query, llm, edge), off * llm, off, edge], -1))
        return made

    def said_of_llm(self, query: Tensor, llm: Tensor, edge: Tensor) -> Tensor:
        """Message to the LLM [N, H], whose card's state is `llm`."""
        made: Tensor = self.to_llm(torch.cat([self.asked(query, llm, edge), edge], -1))
        return made

    def llm(self, card: Tensor, outcomes: Tensor, rewards: Tensor) -> Tensor:
        """Second layer: state [M, H] from the card's, and sums and counts [M, H + 1] of both kinds of messages."""
        means = [mean(sums, self.llm_doubt) for sums in (outcomes, rewards)]
        made: Tensor = card + self.update_llm(torch.relu(self.see_llm(torch.cat([card, *means], -1))))
        return made

    def user(self, sums: Tensor) -> Tensor:
        """Second layer: state [B, H] from sums and a count [B, H + 1]."""
        heard = self.see_user(mean(sums, self.user_doubt))
        made: Tensor = self.new_user + heard + self.update_user(torch.relu(heard))
        return made

    def new_user_state(self) -> Tensor:
        """[H]"""
        return self.user(torch.zeros(self.hidden + 1, device=self.new_user.device))

    def wanted(self, user: Tensor, query: Tensor, task: Tensor) -> Tensor:
        """What an LLM is multiplied by [.., H]."""
        made: Tensor = self.decode(torch.cat([user, query, task], -1)) + self.direct(user)
        return made

    def score(self, user: Tensor, query: Tensor, task: Tensor, llm: Tensor) -> Tensor:
        """Expected reward [B, M]: the dot product of (user, query, task) with each LLM."""
        asked = self.wanted(user, query, task)
        made: Tensor = asked @ llm.T / self.hidden**0.5 + self.level(llm)[:, 0]
        return made

    def pairs(self, user: Tensor, query: Tensor, task: Tensor, llm: Tensor) -> Tensor:
        """Expected reward [N, 1] of single answers by LLMs [N, H]."""
        asked = self.wanted(user, query, task)
        made: Tensor = (asked * llm).sum(-1, keepdim=True) / self.hidden**0.5 + self.level(llm)[:, :1]
        return made

    def answers(self, query: Tensor, task: Tensor, llm: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of a good answer and log of its tokens [B, M]."""
        quality, length = self.decode_answer(torch.cat([query, task], -1)).chunk(2, -1)
        level = self.level(llm)
        logit = quality @ llm.T / self.hidden**0.5 + level[:, 1]
        log_tokens = length @ llm.T / self.hidden**0.5 + level[:, 2] + USUAL_LOG_TOKENS
        return logit, log_tokens.clamp(0.0, MOST_LOG_TOKENS)

    def log_tokens(self, query: Tensor, task: Tensor, llm: Tensor) -> Tensor:
        """[N] of single answers by LLMs [N, H]."""
        _, length = self.decode_answer(torch.cat([query, task], -1)).chunk(2, -1)
        level = self.level(llm)[:, 2] + USUAL_LOG_TOKENS
        made: Tensor = ((length * llm).sum(-1) / self.hidden**0.5 + level).clamp(0.0, MOST_LOG_TOKENS)
        return made


def mean(sums: Tensor, doubt: Tensor) -> Tensor:
    """[.., H] of sums and a count [.., H + 1]; zero where the count is."""
    return sums[..., :-1] / (sums[..., -1:].clamp(min=0.0) + functional.softplus(doubt))


class PersonalizedRouter(nn.Module):
    """All four graphs; the reader of queries is another router's, whose readings a gateway keeps."""

    centre: Tensor
    spread: Tensor
    heard: Tensor
    told: Tensor
    dense: Tensor

    def __init__(self, encoder: QueryEncoder, sizes: NetworkSizes | None = None) -> None:
        """`encoder` is not trained any further."""
        super().__init__()
        self.sizes, self.read = sizes or NetworkSizes(), encoder.sizes
        self.encoder = encoder.requires_grad_(False)
        self.networks = nn.ModuleList(Network(self.read, self.sizes.hidden) for _ in range(self.sizes.networks))
        features = self.read.quality + self.read.verbosities
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        kinds = REWARD_KINDS
        strength = [1.0 if kind.dense else kind.strength / STRONGEST for kind in kinds]
        said_of_user = torch.tensor([kind.to_user * s for kind, s in zip(kinds, strength, strict=True)])
        self.register_buffer("heard", said_of_user, persistent=False)
        self.register_buffer("told", torch.tensor([kind.to_llm for kind in kinds]), persistent=False)
        self.register_buffer("dense", torch.tensor([float(kind.dense) for kind in kinds]), persistent=False)

    @property
    def message(self) -> int:
        """G: a message of each network, and a count."""
        return self.sizes.networks * self.sizes.hidden + 1

    @property
    def z(self) -> int:
        """Z: state and card of an LLM in each network, and its prices."""
        return 2 * (self.message - 1) + 2

    def features(self, reading: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features of queries and probabilities of known tasks, from what was read [.., Q]."""
        of_quality, of_length, _ = self.encoder.of_reading(reading)
        verbosity = of_length[..., self.read.known_tasks :]
        features = (torch.cat([of_quality, verbosity], -1) - self.centre) / self.spread
        return features.clamp(-CLIP, CLIP), reading[..., : self.read.known_tasks]

    def edge_features(self, reward: Tensor, kind: Tensor, dollars: Tensor, tokens: Tensor, known: Tensor) -> Tensor:
        """[N, EDGE]"""
        cost = standard_cost(torch.log(dollars.clamp(min=LEAST_DOLLARS)))
        length = standard_length(torch.log(tokens.clamp(min=1.0)))
        return torch.stack([reward, cost, length, known, self.dense[kind]], -1)

    def llm(self, card: Tensor, text: Tensor, provider_code: Tensor, price: Tensor, evidence: Tensor) -> Tensor:
        """z [M, Z] from cards and sums of messages [M, V]: those of outcomes, then those of users' rewards."""
        outcomes, rewards = evidence.chunk(2, -1)
        states, cards = [], []
        for network, of_outcomes, of_rewards in zip(
            self._networks(), self._own(outcomes), self._own(rewards), strict=True
        ):
            cards.append(network.card(card, text, provider_code, price))
            states.append(network.llm(cards[-1], of_outcomes, of_rewards))
        return torch.cat([*states, *cards, price], -1)

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
    ) -> tuple[Tensor, Tensor]:
        """Messages of N rewards: to the user [N, G], to the LLM [N, V]. Negative tokens or cost: not known."""
        features, probability = self.features(reading)
        states, cards, price = self.split_z(z)
        known = (completion_tokens >= 0).to(reading.dtype)
        to_user, to_llm = [], []
        for network, state, card in zip(self._networks(), states, cards, strict=True):
            query = network.query(features)
            task = probability @ network.task
            said = network.log_tokens(query, task, card).exp()
            tokens = torch.where(completion_tokens >= 0, completion_tokens, said)
            paid = (prompt_tokens.clamp(min=0.0) * price[:, 0] + tokens * price[:, 1]) * 1e-6
            edge = self.edge_features(reward, kind, torch.where(cost_usd >= 0, cost_usd, paid), tokens, known)
            to_user.append(network.said_of_user(query, task, state, edge))
            to_llm.append(network.said_of_llm(query, card, edge))
        weight = weight.clamp(min=0.0)
        of_user = (weight * self.heard[kind]).unsqueeze(-1)
        of_answer = (weight * self.told[kind]).unsqueeze(-1)
        one = torch.ones_like(of_user)
        message = torch.cat([*to_llm, one], -1)
        return of_user * torch.cat([*to_user, one], -1), torch.cat([of_answer * message, of_user * message], -1)

    def user(self, sums: Tensor) -> Tensor:
        """State [B, S]: the user's in each network, and the count."""
        states = [network.user(own) for network, own in zip(self._networks(), self._own(sums), strict=True)]
        return torch.cat([*states, sums[..., -1:]], -1)

    def score(
        self, query: Tensor, prompt_tokens: Tensor, state: Tensor, z: Tensor, cost_weight: Tensor, anchor: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As the contract has it; `std` and `apart` are deviations between the networks."""
        reading = self.encoder.reading(query)
        features, probability = self.features(reading)
        every = torch.cat([z, anchor])  # [M + 1, Z]
        states, _, price = self.split_z(every)
        users = state[..., :-1].split(self.sizes.hidden, -1)
        found = []
        for network, user, llm in zip(self._networks(), users, states, strict=True):
            asked, task = network.query(features), probability @ network.task
            base = network.level(llm)[:, 0].expand(query.shape[0], -1)
            usual = network.score(network.new_user_state().expand_as(user), asked, task, llm)
            found.append((base, usual, network.score(user, asked, task, llm), *network.answers(asked, task, llm)))
        base, usual, scored, logits, logs = (torch.stack(values) for values in zip(*found, strict=True))
        quality, log_tokens = average(torch.sigmoid(logits)), average(logs)
        rates = price.T * 1e-6
        dollars = prompt_tokens.clamp(min=0.0).unsqueeze(-1) * rates[0] + log_tokens.exp() * rates[1]
        cost = standard_cost(torch.log(dollars.clamp(min=LEAST_DOLLARS)))
        weight = cost_weight.clamp(0, 1).unsqueeze(-1)
        asked_for = (cost_weight >= 0).unsqueeze(-1)
        wanted = REQUESTED_QUALITY * (1 - weight) * standard_quality(quality)
        spared = -REQUESTED_COST * weight * cost
        mean_base, mean_usual, mean_scored = average(base), average(usual), average(scored)
        nothing = torch.zeros_like(mean_base)
        learned = (mean_base, mean_usual - mean_base, mean_scored - mean_usual, nothing, nothing)
        given = (nothing, nothing, nothing, wanted, spared)
        parts = torch.stack([torch.where(asked_for, g, own) for g, own in zip(given, learned, strict=True)], -1)
        std = deviation(scored, LEAST_DEVIATION)
        apart = deviation(scored - scored[..., -1:], LEAST_VARIANCE**0.5)
        cut = (x[:, :-1] for x in (parts.sum(-1), std, parts, quality, log_tokens.exp(), apart))
        return (*cut, reading)  # type: ignore[return-value]

    def split_z(self, z: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """States [M, H] and cards [M, H] of an LLM in each network, and its prices."""
        width = self.message - 1
        states, cards, price = z.split((width, width, 2), -1)
        return states.split(self.sizes.hidden, -1), cards.split(self.sizes.hidden, -1), price

    def _networks(self) -> list[Network]:
        return list(self.networks)  # type: ignore[arg-type]

    def _own(self, sums: Tensor) -> list[Tensor]:
        """Each network's own sums and the count [.., H + 1]."""
        return [torch.cat([own, sums[..., -1:]], -1) for own in sums[..., :-1].split(self.sizes.hidden, -1)]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Sizes, for the weights' file."""
        return {"reader": self.read.as_dict(), "networks": asdict(self.sizes)}


def average(values: Tensor) -> Tensor:
    """Over the networks [X, ..]; not `mean`, a name that an exported graph keeps for its output."""
    return values.sum(0) / len(values)


def deviation(scores: Tensor, least: float) -> Tensor:
    """[B, M] between networks [X, B, M], unbiased."""
    apart = scores - average(scores)
    variance = apart.square().sum(0) / max(len(scores) - 1, 1)
    return torch.sqrt(variance + least**2)
