import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from openai import OpenAI

from router_model.data import load_pool
from router_model.strategies import (
    TRADE_OFFS,
    Answer,
    CostEfficiencyPopulation,
    JudgeError,
    ask_judge,
    judge_personas,
    outcome,
    preferred,
    scaled_cost,
)

ANSWERS = [Answer("cheap", "Four.", 1e-6), Answer("long", "2 + 2 = 4, because " + "so " * 50, 1e-3)]


@pytest.fixture(scope="module")
def pool():
    whole = load_pool("zeroeval")
    return whole.select_queries(np.arange(0, 2000, 20))


@pytest.fixture
def judge():
    """A server that speaks the wire format and prefers the shortest answer; holds the bodies it was sent."""

    bodies: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bodies.append(body)
            if body["model"] == "broken":
                self.send_error(500)
                return
            blocks = body["messages"][0]["content"].split("\n\n[")[1:]
            shortest = min(range(len(blocks)), key=lambda i: len(blocks[i].split("\n\nWhich")[0]))
            reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
            message = {"role": "assistant", "content": f"Answer {shortest + 1}."}
            reply["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = bodies  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def client_of(server):
    return OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0)


def test_the_nine_users_weigh_effect_from_a_fifth_to_all(pool):
    nine = CostEfficiencyPopulation.nine()
    rows = np.arange(len(pool.queries))
    utility = nine.utility(np.arange(9), pool, rows)
    assert utility[-1] == pytest.approx(pool.quality)
    assert utility[0] == pytest.approx(0.2 * pool.quality - 0.8 * scaled_cost(pool), abs=1e-6)
    assert len(TRADE_OFFS) == 9


def test_performance_cost_and_reward_add_up_for_every_user(pool):
    users = CostEfficiencyPopulation.spread(50)
    rows = np.arange(len(pool.queries))
    utility = users.utility(np.arange(50), pool, rows)
    best = outcome(users, np.arange(50), pool, rows, utility.argmax(-1))
    dear = outcome(
        users, np.arange(50), pool, rows, np.full((50, len(rows)), pool.names.index("claude-3-opus-20240229"))
    )
    assert best.reward == pytest.approx(float(utility.max(-1).mean()), abs=1e-5)
    assert best.reward > dear.reward
    assert best.cost < dear.cost
    assert np.bincount(users.split).tolist() == [35, 5, 10]


def test_a_judge_plays_a_persona_and_its_choice_is_mapped_back(judge):
    for query in ("What is 2 + 2?", "How much is two and two?", "2 + 2 = ?"):
        for persona in judge_personas():
            assert ask_judge(client_of(judge), "m", persona, query, ANSWERS) == 0
    said = judge.bodies[0]["messages"][0]["content"]
    assert judge_personas()[0].description in said
    assert "cheap" not in said.split("[1]")[1].split("Which")[0].replace("cheapest", "")
    shown_first = {"[1] (cost: $0.001000)" in body["messages"][0]["content"] for body in judge.bodies}
    assert shown_first == {True, False}  # the order depends on persona and query


def test_a_failing_judge_is_an_error_that_names_it(judge):
    with pytest.raises(JudgeError, match="broken could not judge"):
        ask_judge(client_of(judge), "broken", judge_personas()[0], "q", ANSWERS)


@pytest.mark.parametrize(
    ("reply", "choice"), [("2", 1), ("Answer 1, of course", 0), ("none", None), ("7", None), ("", None)]
)
def test_what_a_judge_may_say(reply, choice):
    assert preferred(reply, 2) == choice


@pytest.mark.skipif("JUDGE_BASE_URL" not in os.environ, reason="set JUDGE_BASE_URL to a local LLM's address to ask it")
def test_a_real_llm_names_an_answer_or_none():
    client = OpenAI(base_url=os.environ["JUDGE_BASE_URL"], api_key="none")
    assert ask_judge(client, os.environ.get("JUDGE_MODEL", "local"), judge_personas()[3], "2 + 2?", ANSWERS) in (
        0,
        1,
        None,
    )
