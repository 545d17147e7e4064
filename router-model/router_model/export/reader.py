"""Which readings of queries mean the same: those that the same weights made."""

from __future__ import annotations

import hashlib

from router_model.network import QueryEncoder, Router


def reader_of(router: Router | QueryEncoder) -> str:
    """Name of the router's reader, by its weights."""
    encoder = router if isinstance(router, QueryEncoder) else router.encoder
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
