"""Runs code that an LLM wrote: in a process of its own, in an empty directory, with hard limits, without a network.

A fence against the accidents and mischief of ordinary answers, not against an attacker of the machine:
the process can read what its user can read. Where that matters, run `collect` in a container.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SECONDS = 10
LAUNCHER = Path(__file__).with_name("limited.py")


def passes(program: str, seconds: float = SECONDS) -> bool:
    """Whether a Python program ends with exit code 0 in time."""
    with tempfile.TemporaryDirectory(prefix="collect-") as folder:
        script = Path(folder) / "answer.py"
        script.write_text(program, encoding="utf-8")
        command = [*_without_network(), sys.executable, "-I", str(LAUNCHER), str(script)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            # Children that it left behind go with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@cache
def _without_network() -> list[str]:
    """`unshare` into a network namespace of its own, where the kernel lets us."""
    tool = shutil.which("unshare")
    if tool is None:
        return []
    command = [tool, "--user", "--net", "--map-root-user", "--"]
    works = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10).returncode == 0
    return command if works else []


def isolated() -> bool:
    """Whether code runs without a network here."""
    return bool(_without_network())
