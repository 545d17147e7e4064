"""Ratings at the end of their scale: utility may be beyond it (censored regression: Tobin 1958, Econometrica 26)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

END = 0.999  # a rating from here on, on a scale of -1 to 1, is at the end

# Chebyshev coefficients of log erfc(x) + x^2 - log t in t = 1 / (1 + x / 2) for x >= 0; relative error of erfc below
# 1.2e-7 (Press et al. 1992, Numerical Recipes, section 6.2). ONNX knows no log of a normal distribution function.
_ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


def log_normal_cdf(z: Tensor) -> Tensor:
    """Log of the standard normal distribution function, any shape; float64 for a precision of 1e-6 in both tails."""
    x = z.abs() * math.sqrt(0.5)
    t = 1 / (1 + 0.5 * x)
    polynomial = torch.zeros_like(t)
    for coefficient in _ERFC:
        polynomial = polynomial * t + coefficient
    tail = torch.log(0.5 * t) - x.square() + polynomial
    return torch.where(z < 0, tail, torch.log1p(-torch.exp(tail.clamp(max=-0.6))))


def at_the_end(mean: Tensor, variance: Tensor, noise: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log evidence, posterior mean and variance, each [..], of a utility that was N(mean, variance), given that utility
    plus noise of variance `noise` was at least 1 (`side` 1) or at most -1 (`side` -1).
    """
    total = variance + noise
    z = (side * mean - 1) * torch.rsqrt(total)
    evidence = log_normal_cdf(z)
    # how many deviations the noisy utility is drawn beyond the end
    drawn = torch.exp(-0.5 * z.square() - evidence - 0.5 * math.log(2 * math.pi))
    posterior = mean + side * variance * torch.rsqrt(total) * drawn
    known = (drawn * (drawn + z)).clamp(0, 1)
    return evidence, posterior, variance * (1 - variance / total * known)
