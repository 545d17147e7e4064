"""Weights of a router beside its graphs: what training and retraining go on from. The gateway does not read them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from router_model.network import Router, Sizes

WEIGHTS_FILE = "weights.safetensors"


class WeightsError(ValueError):
    """Weights that are missing, or of another architecture than this package's `Router`."""


def save_weights(path: Path, router: Router) -> None:
    """Writes parameters, buffers and sizes."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in router.state_dict().items()}
    # Not `save_file`, whose files only their owner may read: the gateway often runs as another user.
    path.write_bytes(save(tensors, metadata={"sizes": json.dumps(router.sizes.as_dict())}))


def load_weights(path: Path) -> Router:
    """The router that `save_weights` wrote, in evaluation mode. Raises `WeightsError`."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; an artifact without weights can be served but not retrained")
    with safe_open(path, framework="pt") as file:
        try:
            sizes = Sizes(**json.loads(file.metadata()["sizes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: its sizes are not those of this package's model: {error}") from error
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    router = Router(sizes)
    for name, buffer in list(router.named_buffers()):
        # Some buffers are as long as the training data had LLMs.
        if name in tensors and tensors[name].shape != buffer.shape:
            owner, _, field = name.rpartition(".")
            setattr(router.get_submodule(owner), field, torch.zeros_like(tensors[name]))
    try:
        router.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{path}: of another architecture than this package's model: {error}") from error
    return router.eval()
