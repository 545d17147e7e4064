"""Small dense algebra that exports to ONNX, which has no Cholesky and no inverse."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 8


@lru_cache(maxsize=32)
def _packed(n: int) -> NDArray[np.int64]:
    rows, columns = np.triu_indices(n)
    return np.asarray(rows * n + columns, dtype=np.int64)


@lru_cache(maxsize=32)
def _unpacked(n: int) -> NDArray[np.int64]:
    place = np.zeros((n, n), dtype=np.int64)
    rows, columns = np.triu_indices(n)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return place.ravel()


def packed_indices(n: int, device: torch.device) -> Tensor:
    """Flat positions [n (n + 1) / 2] of the upper triangle of an n x n matrix."""
    return torch.as_tensor(_packed(n), device=device)


def unpacked_indices(n: int, device: torch.device) -> Tensor:
    """Where entry (i, j) of a symmetric matrix lies in its packed form, flat [n n]."""
    return torch.as_tensor(_unpacked(n), device=device)


def pack(matrix: Tensor, n: int) -> Tensor:
    """Packed form [.., n (n + 1) / 2] of symmetric matrices [.., n, n]."""
    return matrix.flatten(-2).index_select(-1, packed_indices(n, matrix.device))


def packed_outer(x: Tensor) -> Tensor:
    """x x^T for x [.., n], packed [.., n (n + 1) / 2]."""
    n = x.shape[-1]
    outer = x.unsqueeze(-1) * x.unsqueeze(-2)
    return outer.flatten(-2).index_select(-1, packed_indices(n, x.device))


def unpack(packed: Tensor, n: int) -> Tensor:
    """Symmetric [.., n, n] from its packed form [.., n (n + 1) / 2]."""
    flat = packed.index_select(-1, unpacked_indices(n, packed.device))
    return flat.reshape(*packed.shape[:-1], n, n)


def inverse_and_logdet(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse [.., n, n] and log determinant [..] of symmetric positive definite matrices.

    LAPACK's Cholesky normally, block elimination with plain operators while exporting; they agree to rounding.
    """
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return eliminate(matrix)
    factor = torch.linalg.cholesky(matrix)
    logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.cholesky_inverse(factor), logdet


def eliminate(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`inverse_and_logdet` by recursive Schur complements: unrolled, no branches on values."""
    n = matrix.shape[-1]
    if n == 1:
        return 1 / matrix, matrix.log()[..., 0, 0]
    if n == 2:
        a, b, d = matrix[..., :1, :1], matrix[..., :1, 1:], matrix[..., 1:, 1:]
        det = a * d - b * b
        top, bottom = torch.cat([d, -b], -1), torch.cat([-b, a], -1)
        return torch.cat([top, bottom], -2) / det, det.log()[..., 0, 0]
    half = 1
    while half * 2 < n:
        half *= 2
    corner, side, rest = matrix[..., :half, :half], matrix[..., :half, half:], matrix[..., half:, half:]
    first, first_logdet = eliminate(corner)
    across = first @ side
    second, second_logdet = eliminate(rest - side.transpose(-1, -2) @ across)
    off = -(across @ second)
    whole = torch.cat(
        [
            torch.cat([first - off @ across.transpose(-1, -2), off], -1),
            torch.cat([off.transpose(-1, -2), second], -1),
        ],
        -2,
    )
    return whole, first_logdet + second_logdet
