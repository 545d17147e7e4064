"""The product imports nothing of the laboratory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
PRODUCT = sorted((HOME / "router_model").rglob("*.py"))
LABORATORY = ("personabench", "obp", "torch_geometric", "sklearn")


def imported(path: Path) -> set[str]:
    """Every module named by an import of the file, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(HOME)))
def test_no_file_of_the_product_names_the_laboratory(path: Path) -> None:
    assert not {name for name in imported(path) if name.split(".")[0] in LABORATORY}


def test_importing_the_whole_product_loads_nothing_of_the_laboratory() -> None:
    names = [
        ".".join(path.relative_to(HOME).with_suffix("").parts).removesuffix(".__init__")
        for path in PRODUCT
        if path.name != "__main__.py" and path.name != "limited.py"
    ]
    assert len(names) > 40
    script = (
        "import sys\nfrom importlib import import_module\n"
        f"for name in {names!r}:\n    import_module(name)\n"
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & set({LABORATORY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
