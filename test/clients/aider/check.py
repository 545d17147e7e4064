"""Aider: a question about a file, streamed and not, by `auto`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

work = Path(tempfile.mkdtemp())
(work / "hello.py").write_text('print("hello")\n')
headers = {"x-user-id": os.environ["USER_ID"]}
settings = [{"name": "openai/auto", "edit_format": "whole", "extra_params": {"extra_headers": headers}}]
(work / ".aider.model.settings.yml").write_text(json.dumps(settings))
environment = {**os.environ, "OPENAI_API_BASE": os.environ["BASE_URL"], "OPENAI_API_KEY": os.environ["KEY"]}
quiet = ["--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings", "--analytics-disable"]
for stream in ("--stream", "--no-stream"):
    command = [sys.executable, "-m", "aider", "--model", "openai/auto", *quiet, stream]
    command += ["--chat-mode", "ask", "--message", "What does this file say?", "hello.py"]
    said = subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "[sandbox " in said, said
