"""What the users of a log tell of their tenants: how frequent each kind of people is among them.

Of an artifact that knows one kind of people alone, nothing here says anything.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from router_model.network import Router
from router_model.retrain.logbook import Logbook
from router_model.retrain.refit import sums_of, tenants_of
from router_model.retrain.replay import Doubles, Ints, Model


def learn_tenant(router: Router, model: Model, log: Logbook, users: Ints) -> None:
    """What users tell of their tenant goes into how frequent kinds of tenants are. Changes the router.

    Of one tenant: what is believed of it. Of several that share an artifact: how frequent kinds are among them, since
    what the users of one tell says nothing of another.
    """
    node = router.user_node
    with torch.no_grad():
        before = node.log_tenant.double()
        theirs = np.unique(tenants_of(log)[1][users])
        each = torch.log_softmax(before + _told(router, model, log, users)[torch.from_numpy(theirs)], -1)
        if len(theirs) > 1:  # each is one tenant more beside what the base takes for one
            each = torch.logsumexp(torch.cat([torch.log_softmax(before, -1)[None], each]), 0, keepdim=True)
        node.log_tenant.copy_(torch.log_softmax(each[0], -1))


def usual_shares(router: Router, model: Model, log: Logbook, users: Ints) -> Doubles:
    """How frequent usual people are at each tenant of the log, [T], by what some of its users tell; 1 where the router
    knows no others. As the gateway reads it: of which kind somebody is of whom nothing else is known.
    """
    names, _ = tenants_of(log)
    if not router.sizes.people:
        return np.ones(len(names))
    told = _told(router, model, log, users)
    silent = torch.zeros(len(names), router.sizes.blocks, router.sizes.user_message, dtype=torch.double)
    with torch.no_grad():
        kinds = router.user_node.believed(router.leniency(silent), told)[3]
    shares: Doubles = kinds[:, 0].numpy()
    return shares


def _told(router: Router, model: Model, log: Logbook, users: Ints) -> Tensor:
    """What users told of each tenant of the log, together, [T, Y]; nothing where none of them is its."""
    names, tenant = tenants_of(log)
    total = torch.zeros(len(names), router.sizes.tenants, dtype=torch.double)
    if len(users) == 0:
        return total
    sums = sums_of(model, log, users)
    with torch.no_grad():
        # as one block: nobody is asked here whether they have changed
        blocks = torch.zeros(len(users), router.sizes.blocks, sums.shape[1], dtype=torch.double)
        blocks[:, 0] = torch.from_numpy(sums)
        *_, told = router.user_node.believed(router.leniency(blocks))
        return total.index_add(0, torch.from_numpy(tenant[users]), told)
