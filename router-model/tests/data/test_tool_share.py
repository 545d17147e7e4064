"""How much tools say of a request."""

from __future__ import annotations

import numpy as np
import pytest

from router_model.data.tools import tool_share


def test_shares_are_those_of_the_gateway() -> None:
    # test/embedding/tool-share.test.ts has the same numbers.
    found = tool_share([0, 1, 3, 9, 10, 200])
    assert found == pytest.approx([0, 0.2890648, 0.5781297, 0.9602526, 1, 1], abs=1e-6)
    assert found.dtype == np.float32
