"""Query embedding: text -> vector, the same in Python (training) and TypeScript (serving)."""

from router_model.embedding.embedder import Embedder
from router_model.embedding.static import StaticEmbedder

__all__ = ["Embedder", "StaticEmbedder"]
