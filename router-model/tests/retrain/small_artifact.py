"""A small artifact with hand-set beliefs: exporting and retraining one of full size takes minutes.

`python small_artifact.py <embedder's folder> <artifact's folder>` writes one for the gateway's tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from router_model.embedding import StaticEmbedder
from router_model.export.artifact import EmbedderEntry
from router_model.export.onnx import write_artifact
from router_model.network import Router, Sizes
from router_model.priors.prior import CARD_FEATURES, believe_cards, believe_people, believe_rewards

SIZES = Sizes(
    card=2 * len(CARD_FEATURES),
    provider_code=4,
    name_code=4,
    known_tasks=4,
    tasks=2,
    difficulties=2,
    verbosities=1,
    hidden=8,
    components=2,
)


def write_small_artifact(source: Path, folder: Path) -> None:
    """Named after its folder; its embedder is a copy of `source`."""
    torch.manual_seed(0)
    embedder = StaticEmbedder.load(source)
    router = Router(SIZES)
    believe_cards(router)
    believe_people(router)
    believe_rewards(router)
    files = ("embedder/embedder.json", "embedder/tokenizer.json", "embedder/vectors.bin")
    write_artifact(
        folder,
        router,
        version=folder.name,
        embedder=source,
        embedder_entry=EmbedderEntry(kind="static", version=embedder.version, dim=embedder.dim, files=files),
        golden_texts={"Hello": embedder.embed(["Hello"])[0]},
        card_features=CARD_FEATURES,
        population={},
        aliases={},
        trained_on=[],
        forget=1.0,
        metrics={},
        model_card="# For a test\n",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_small_artifact(Path(sys.argv[1]), Path(sys.argv[2]))
