"""A small server that speaks the gateway's wire format, and notes what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "pr-test-0123456789abcdef"
MODELS = ("clever", "cheap", "strict-judge")
PRICES = {"clever": 0.01, "cheap": 0.001, "strict-judge": 0.002}

Reply = Callable[[str, str], "str | int"]
"""From model and prompt to an answer, or to an HTTP status."""


class FakeGateway:
    """`asked` counts (model, prompt)."""

    def __init__(self, reply: Reply, delay_s: float = 0.0, send_cost: bool = True) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _send(self, status: int, body: dict[str, Any], **headers: str) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def _refused(self) -> bool:
                if self.headers["authorization"] == f"Bearer {KEY}":
                    return False
                self._send(401, {"error": {"message": "Invalid API key.", "type": "x", "param": None, "code": None}})
                return True

            def do_GET(self) -> None:
                if not self._refused():
                    self._send(200, {"object": "list", "data": [outer.model(name) for name in MODELS]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self._refused():
                    return
                model, prompt = body["model"], body["messages"][-1]["content"]
                with outer._lock:
                    outer.asked[model, prompt] += 1
                    outer._now += 1
                    outer.most_at_once = max(outer.most_at_once, outer._now)
                time.sleep(delay_s)
                with outer._lock:
                    outer._now -= 1
                answer = reply(model, prompt)
                if isinstance(answer, int):
                    message = {"message": "Try later.", "type": "server_error", "param": None, "code": None}
                    self._send(answer, {"error": message}, retry_after_ms="1")
                    return
                usage = {"prompt_tokens": 10, "completion_tokens": len(answer.split()), "total_tokens": 0}
                message = {"role": "assistant", "content": answer}
                choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
                made = {"id": "c", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
                cost = {"x_router_cost_usd": f"{PRICES[model]:.9f}"} if send_cost else {}
                self._send(200, made | {"usage": usage}, **cost)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @staticmethod
    def model(name: str) -> dict[str, Any]:
        ours = {
            "description": f"A {name} one.",
            "provider": "fake",
            "price_usd_per_million_tokens": {"input": 1.0, "output": 2.0},
            "context_window": 8192,
            "capabilities": ["tools"],
            "groups": ["default"],
        }
        return {"id": name, "object": "model", "created": 0, "owned_by": "acme", "persona_router": ours}

    def __enter__(self) -> FakeGateway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
