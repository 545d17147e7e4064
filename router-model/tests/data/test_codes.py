import hashlib

import numpy as np
import pytest

from router_model.data.codes import code, code_matrix

NAMES = [f"model-{i}" for i in range(24)]


def test_code_reads_bits_of_sha256_lowest_first():
    digest = hashlib.sha256(b"openai").digest()
    expected = [1 if digest[i // 8] >> (i % 8) & 1 else -1 for i in range(24)]
    assert code("OpenAI", 24) * np.sqrt(24) == pytest.approx(expected)
    assert code("openai", 24) @ code("OPENAI", 24) == pytest.approx(1.0)


def test_code_refuses_more_bits_than_there_are():
    with pytest.raises(ValueError, match="257"):
        code("a", 257)


@pytest.mark.parametrize("names", [1, 9, 24])
def test_a_frame_of_no_more_names_than_dimensions_is_orthonormal(names: int):
    codes = code_matrix(NAMES[:names], 24, "frame").astype(np.float64)
    assert codes @ codes.T == pytest.approx(np.eye(names), abs=1e-5)


def test_a_frame_of_more_names_has_less_overlap_than_hashed_codes():
    overlaps = {}
    for kind in ("hashed", "frame"):
        codes = code_matrix(NAMES, 8, kind).astype(np.float64)
        assert np.linalg.norm(codes, axis=1) == pytest.approx(np.ones(24), abs=1e-5)
        overlaps[kind] = np.square(codes @ codes.T - np.eye(24)).sum()
    assert overlaps["frame"] < overlaps["hashed"]
    assert overlaps["frame"] == pytest.approx(24 * 24 / 8 - 24, rel=0.05)  # the least there is (Welch 1974)


def test_a_frame_depends_neither_on_order_nor_on_case_nor_on_names_that_come_twice():
    codes = code_matrix(NAMES[:9], 24, "frame")
    again = code_matrix([*(name.upper() for name in reversed(NAMES[:9])), NAMES[0]], 24, "frame")
    assert again[:9][::-1] == pytest.approx(codes, abs=1e-6)
    assert again[9] == pytest.approx(codes[0], abs=1e-6)


def test_another_name_turns_the_codes_of_a_few_names_little():
    before, after = code_matrix(NAMES[:8], 24, "frame"), code_matrix(NAMES[:9], 24, "frame")
    assert np.diag(before @ after[:8].T).min() > 0.95


def test_makers_whose_hashed_codes_are_the_same_share_one():
    two = ["maker-0", next(f"maker-{i}" for i in range(1, 999) if code(f"maker-{i}", 4) @ code("maker-0", 4) > 0.99)]
    codes = code_matrix([*two, "other"], 4, "frame")
    assert codes[0] == pytest.approx(codes[1], abs=1e-5)
    assert codes[0] @ codes[2] == pytest.approx(0, abs=1e-5)


def test_no_dimensions_are_no_codes():
    assert code_matrix(["a", "b"], 0, "frame").shape == (2, 0)
    assert code_matrix([], 24, "frame").shape == (0, 24)
