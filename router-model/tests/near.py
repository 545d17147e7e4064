"""Comparison relative to magnitude: what rounding leaves depends on the CPU, and grows with the largest term."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

ROUNDING = float(np.finfo(np.float32).eps)
"""Relative error of one float32 operation, at most."""


def off(found: Any, expected: Any, scale: Any = None) -> float:
    """Largest difference, as a share of the largest magnitude expected, or of `scale`; infinite where shapes differ."""
    a, b = _double(found), _double(expected)
    if a.shape != b.shape:
        return float("inf")
    size = np.abs(b).max(initial=0.0) if scale is None else np.abs(_double(scale)).max()
    difference = np.abs(a - b).max(initial=0.0)
    return 0.0 if difference == 0 else float(difference / size) if size > 0 else float("inf")


def assert_near(found: Any, expected: Any, within: float = 64 * ROUNDING, scale: Any = None) -> None:
    """`off` is at most `within`: some tens of roundings unless more is said."""
    error = off(found, expected, scale)
    assert error <= within, f"off by {error:.2g} of the largest, at most {within:.2g}"


def _double(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
