"""`Router.described` with as few inverses as there is evidence for: the same belief.

A belief is a mixture over when tastes changed and over kinds of people, of which each Gaussian costs an inverse
(`UserNode`). Who has rated little has words in the newest blocks alone: that tastes changed before all of them, or
never, is then the same Gaussian, and what an earlier self said is nothing. Letters as in `network.py`; n: inverses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from router_model.linalg import inverse_and_logdet, take, unpacked_indices
from router_model.network import Router, mixed


class FoldedUser(nn.Module):
    """A router's `described` with its weights as they are now."""

    split: Tensor
    places: Tensor
    precision: Tensor
    pull: Tensor
    log_odds: Tensor
    silence: Tensor
    always: Tensor
    log_share: Tensor
    log_tenant: Tensor
    directions: Tensor

    def __init__(self, router: Router) -> None:
        """Reads the weights; later changes of them are not seen."""
        super().__init__()
        self.sizes, self.leniency = router.sizes, router.leniency
        node, blocks, people = router.user_node, router.sizes.blocks, router.sizes.people
        with torch.no_grad():
            precision, pull = node.precision[0], node.pull[0]
            k = router.sizes.user
            wide = 1 << (k - 1).bit_length()  # so that all blocks are alike: the elimination is then fewest operators
            places = torch.full((wide, wide), k * (k + 1) // 2)
            places[:k, :k] = unpacked_indices(k, places.device).reshape(k, k)
            bordered = torch.eye(wide, dtype=torch.double).repeat(len(node.precision), 1, 1)
            bordered[:, :k, :k] = node.precision
            made = {
                "split": node.split,
                "places": places.flatten(),
                "precision": bordered,
                "pull": node.pull,
                "log_odds": node.log_odds,
                # Evidence of no words at all.
                "silence": 0.5 * (pull @ torch.linalg.solve(precision, pull) - torch.logdet(precision)),
                # Gaussians that are there whoever the user is: of all that was said, of each kind.
                "always": torch.arange(blocks + people) >= blocks,
                "log_share": node.log_share.double(),
                "log_tenant": node.log_tenant.double(),
                "directions": router.directions,
            }
        for name, value in made.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, sums: Tensor, tenant: Tensor | None = None) -> tuple[Tensor, ...]:
        """See `Router.described`."""
        s, k, blocks, people = self.sizes, self.sizes.user, self.sizes.blocks, self.sizes.people
        each = sums.unflatten(-1, (blocks, s.user_message))
        # Whether anything was said in a block or before it, by any of these users.
        said = (each != 0).to(torch.float32).amax((0, 2))
        since = torch.stack([said[i:].max() for i in range(1, blocks)]) > 0 if blocks > 1 else said[:0] > 0
        read_plainly = self.always[blocks : blocks + min(people, 1)]
        differs = torch.cat([torch.ones_like(said[:1]) > 0, since, self.always[blocks:], since, read_plainly])
        rows = differs.nonzero().squeeze(-1)  # [n]
        place = differs.long().cumsum(0) - 1  # [2 W - 1 + people, and 1 for them]: where each has its Gaussian

        sums_read, (plain, may_be_lenient) = self.leniency(each), self.leniency.at_face_value(each)
        both = torch.cat([sums_read, plain], -2) if people else sums_read
        packed, information = (self.split[rows] @ both.double()).split((k * (k + 1) // 2, k), -1)
        wide = self.precision.shape[-1]
        added = take(functional.pad(packed, (0, 1)), self.places).unflatten(-1, (wide, wide))
        covariance, logdet = inverse_and_logdet(self.precision[rows] + added)
        covariance = covariance[..., :k, :k]
        target = information + self.pull[rows]
        posterior = (covariance @ target.unsqueeze(-1)).squeeze(-1)  # [B, n, K]
        evidence = (0.5 * ((posterior * target).sum(-1) - logdet)).index_select(-1, place)
        present, earlier, plainly = evidence.split((blocks + people, blocks - 1, min(people, 1)), -1)
        earlier = torch.where(since, earlier, self.silence)
        usual, others = (present + self.log_odds).split((blocks, people), -1)
        usual = torch.cat([usual[..., :-1] + earlier, usual[..., -1:]], -1)
        kinds, told = torch.ones_like(usual[..., :1]), usual[..., :0]
        if people:
            usual = usual + (plainly - present[..., blocks - 1 : blocks]) + may_be_lenient.double()
            by_kind = torch.cat([torch.logsumexp(usual, -1, keepdim=True), others], -1)
            known = self.log_tenant if tenant is None else self.log_tenant + tenant.double()
            share, anywhere = self._shares(known), self._shares(self.log_tenant)
            of_each = torch.logsumexp(by_kind.unsqueeze(-2) + self.log_share, -1)
            told = of_each - torch.logsumexp(by_kind + anywhere, -1, keepdim=True)
            first, rest = share.split((1, people), -1)
            usual, others = usual + first, others + rest
            kinds = torch.softmax(by_kind + share, -1)
        probability = torch.softmax(torch.cat([usual, others], -1), -1)  # [B, W + people]
        of_rows = (place[: blocks + people].unsqueeze(-1) == place[rows]).double()  # [W + people, n]
        mean, spread = mixed(probability @ of_rows, posterior, covariance)
        same = torch.cat([probability[..., : blocks - 1], probability[..., blocks - 1 :].sum(-1, keepdim=True)], -1)
        state = torch.cat([mean, spread.flatten(-2)], -1)
        taste = self.directions @ spread @ self.directions.T
        made = (state, mean @ self.directions.T, taste, same, *((kinds, told) if people else ()))
        return tuple(x.to(sums.dtype) for x in made)

    def _shares(self, known: Tensor) -> Tensor:
        return torch.logsumexp(torch.log_softmax(known, -1).unsqueeze(-1) + self.log_share, -2)
