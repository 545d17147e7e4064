"""Small dense algebra that exports to few ONNX operators: their start costs more than what they compute."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

LEAF = 16  # matrices up to this size are inverted by one operator


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
    return take(matrix.flatten(-2), packed_indices(n, matrix.device))


def packed_outer(x: Tensor) -> Tensor:
    """x x^T for x [.., n], packed [.., n (n + 1) / 2]."""
    return pack(x.unsqueeze(-1) * x.unsqueeze(-2), x.shape[-1])


def unpack(packed: Tensor, n: int) -> Tensor:
    """Symmetric [.., n, n] from its packed form [.., n (n + 1) / 2]."""
    return take(packed, unpacked_indices(n, packed.device)).reshape(*packed.shape[:-1], n, n)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Entries [.., I] of values [.., V] at places [I]."""
    # Gather copies entry by entry in ONNX Runtime, ten times slower than GatherElements.
    if torch.onnx.is_in_onnx_export():
        return values.gather(-1, index.expand(*values.shape[:-1], -1))
    return values.index_select(-1, index)


def inverse_and_logdet(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse [.., n, n] and log determinant [..] of symmetric positive definite matrices.

    LAPACK's Cholesky normally, block elimination while exporting; they agree to rounding.
    """
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return eliminate(matrix)
    factor = torch.linalg.cholesky(matrix)
    logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.cholesky_inverse(factor), logdet


def eliminate(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """`inverse_and_logdet` by Schur complements, unrolled: no branches on values, no pivoting."""
    leaves: dict[int, list[tuple[Tensor, Tensor]]] = {}
    inverse = _invert(matrix.unsqueeze(0), leaves).squeeze(0)
    parts = [_logdet(*map(torch.cat, zip(*same, strict=True))) for same in leaves.values()]
    return inverse, sum(parts[1:], parts[0])


def _invert(matrix: Tensor, leaves: dict[int, list[tuple[Tensor, Tensor]]]) -> Tensor:
    """Inverse [.., n, n]. Adds to `leaves`, by size, the blocks whose determinants multiply up to that of `matrix`, and
    their inverses.
    """
    n = matrix.shape[-1]
    if n <= LEAF:
        inverse = _inverse(matrix)
        leaves.setdefault(n, []).append((matrix, inverse))
        return inverse
    half = n // 2
    corner, side, rest = matrix[..., :half, :half], matrix[..., :half, half:], matrix[..., half:, half:]
    first = _invert(corner, leaves)
    across = first @ side
    second = _invert(rest - side.transpose(-1, -2) @ across, leaves)
    off = -(across @ second)
    above = torch.cat([first - off @ across.transpose(-1, -2), off], -1)
    return torch.cat([above, torch.cat([off.transpose(-1, -2), second], -1)], -2)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse [.., n, n] by one operator: ONNX has none, ONNX Runtime has."""
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "com.microsoft::Inverse", (matrix,), dtype=matrix.dtype, shape=matrix.shape, version=1
        )
    inverse: Tensor = torch.linalg.inv(matrix)
    return inverse


def _logdet(matrix: Tensor, inverse: Tensor) -> Tensor:
    """Log determinant [..] of the product of matrices [L, .., n, n], given their inverses.

    By Jacobi's complementary minors, det A = det A[:h, :h] / det A^-1[h:, h:], until they are 2 x 2: an inverse is one
    operator, an elimination would be many.
    """
    left, signs = matrix.unsqueeze(0), torch.ones(1, dtype=matrix.dtype, device=matrix.device)
    inverse = inverse.unsqueeze(0)
    while (n := left.shape[-1]) > 2:
        if n % 2:
            left, inverse = _bordered(left), _bordered(inverse)
        half = left.shape[-1] // 2
        left = torch.cat([left[..., :half, :half], inverse[..., half:, half:]])
        signs = torch.cat([signs, -signs])
        if half > 2:
            inverse = _inverse(left)
    if left.shape[-1] == 2:
        a, b, c, d = left.flatten(-2).split(1, -1)
        left = (a * d - b * c).unsqueeze(-1)
    logs = left.log().flatten(-2).sum(-1)
    return (logs * signs.reshape(-1, *[1] * (logs.dim() - 1))).sum((0, 1))


def _bordered(matrix: Tensor) -> Tensor:
    """With a row and a column more, of the identity: the same determinant."""
    n = matrix.shape[-1]
    corner = torch.zeros(n + 1, n + 1, dtype=matrix.dtype, device=matrix.device)
    corner[n, n] = 1
    return functional.pad(matrix, (0, 1, 0, 1)) + corner
