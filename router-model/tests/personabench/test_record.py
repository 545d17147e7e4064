import json
import shutil

from personabench.bench.results import Figure, Results, Row
from personabench.metrics import Interval
from personabench.record import record, under
from router_model.export.artifact import Artifact


def run_of(pool, value):
    gap = Interval(value, value - 0.1, value + 0.1)
    row = Row(pool, "dense", "none", "graph router", "personal", 5, gap, None, 0.1)
    settings: dict[str, object] = {"command": f"python -m personabench evaluate --pools {pool}"}
    return Results(settings, [row], [Figure(pool, "dense", "x", "ECE", 0.01)])


def test_figures_go_into_the_artifact_which_stays_sound(artifact, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    paths = []
    for pool, value in (("zeroeval", 0.25), ("llmrouter", 0.375)):
        paths.append(tmp_path / f"{pool}.json")
        run_of(pool, value).save(paths[-1])
    other = tmp_path / "seed.md"
    other.write_text(under("python -m personabench seed --seeds 5", "| table |"))
    record(paths, folder, tmp_path / "out", [other])
    graphs = Artifact(folder)
    assert graphs.manifest.files["score.onnx"] == Artifact(artifact).manifest.files["score.onnx"]
    made = json.loads((folder / "metrics.json").read_text())
    assert [run["rows"][0]["gap"]["value"] for run in made["runs"]] == [0.25, 0.375]
    assert "none yet" not in (folder / "MODEL_CARD.md").read_text()
    page = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "evaluate --pools llmrouter" in page
    assert page.endswith("```\npython -m personabench seed --seeds 5\n```\n\n| table |")
    assert "0.250 [0.15, 0.35]" in page
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
