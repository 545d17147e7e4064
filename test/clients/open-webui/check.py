"""The real Open WebUI with the function of integrations/open-webui: a thumb changes that user's next routed model."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

BASE_URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]
FUNCTION = Path(os.environ["REPOSITORY"], "integrations", "open-webui", "persona_router_feedback.py")
QUESTION = "Explain in two sentences why the sky is blue."
START_S, LEARN_S = 240, 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def api(method: str, url: str, token: str = "", body: object = None, headers: dict | None = None) -> dict:
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    for name, value in {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {url}: {error.code} {error.read()[:500]!r}") from error


def eventually(check, what: str, within_s: float):
    until = time.monotonic() + within_s
    while not (found := check()):
        if time.monotonic() > until:
            raise SystemExit(f"not in time: {what}")
        time.sleep(0.2)
    return found


def explain(user: str) -> dict:
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
    return api("POST", f"{BASE_URL}/router/explain", KEY, body, {"x-router-explore": "off", "x-user-id": user})


def flow(web: str) -> None:
    admin = api("POST", f"{web}/api/v1/auths/signup", body={"name": "Ann", "email": "a@example.com", "password": "Passw0rd-ann"})
    token, user = admin["token"], admin["id"]
    # As the administrator does it: the header of the connection, then the function, its valves, and the switch.
    connection = {"enable": True, "headers": {"X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}{{TASK}}"}}
    config = {"OPENAI_API_BASE_URLS": [BASE_URL], "OPENAI_API_KEYS": [KEY], "OPENAI_API_CONFIGS": {"0": connection}}
    api("POST", f"{web}/openai/config/update", token, {"ENABLE_OPENAI_API": True, **config})
    functions = f"{web}/api/v1/functions"
    content = FUNCTION.read_text()
    function = {"id": "persona_router_feedback", "name": "Feedback", "content": content, "meta": {"description": ""}}
    api("POST", f"{functions}/create", token, function)
    api("POST", f"{functions}/id/{function['id']}/valves/update", token, {"base_url": BASE_URL, "api_key": KEY})
    api("POST", f"{functions}/id/{function['id']}/toggle", token)
    assert "auto" in [model["id"] for model in api("GET", f"{web}/api/models", token)["data"]]

    def chat_and_press(model: str, rating: int) -> None:
        message, asked = str(uuid.uuid4()), [{"role": "user", "content": QUESTION}]
        chat = api("POST", f"{web}/api/v1/chats/new", token, {"chat": {"title": "T", "models": [model], "messages": asked}})
        body = {"model": model, "messages": asked, "stream": False, "chat_id": chat["id"], "id": message}
        answer = api("POST", f"{web}/api/chat/completions", token, body)
        assert answer["choices"][0]["message"]["content"].startswith("[sandbox"), answer
        meta = {"model_id": model, "message_id": message, "chat_id": chat["id"]}
        thumb = {"type": "rating", "data": {"rating": rating, "model_id": model}, "meta": meta}
        api("POST", f"{web}/api/v1/evaluations/feedback", token, thumb)

    before = explain(user)
    assert before["user"]["rewards"] == 0, before
    others = [row["name"] for row in before["candidates"] if row["name"].startswith("sandbox") and row["name"] != before["chosen"]]
    after = before
    for turn in range(1, 7):
        chat_and_press(before["chosen"], -1)
        chat_and_press(others[-1], 1)
        eventually(lambda want=2 * turn: explain(user)["user"]["rewards"] == want, "the thumbs arrive", LEARN_S)
        after = explain(user)
        if after["chosen"] != before["chosen"]:
            break
    assert after["chosen"] != before["chosen"], after
    assert explain("somebody else")["chosen"] == before["chosen"]
    print(f"{before['chosen']} -> {after['chosen']}")


with tempfile.TemporaryDirectory() as data:
    port = free_port()
    environment = {
        **os.environ,
        "DATA_DIR": data,
        "WEBUI_SECRET_KEY": "of this test alone",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
        "RAG_EMBEDDING_ENGINE": "openai",
        "OFFLINE_MODE": "true",
        "ANONYMIZED_TELEMETRY": "false",
    }
    serve = ["-c", "from open_webui import app; app()", "serve", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([sys.executable, *serve], env=environment, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def is_up() -> bool:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
            except OSError:
                return False

        eventually(is_up, "Open WebUI starts", START_S)
        flow(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
