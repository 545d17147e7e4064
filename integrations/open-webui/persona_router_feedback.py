"""
title: persona-router feedback
author: persona-router
version: 0.1.0
license: MIT
required_open_webui_version: 0.12.0
description: Sends the thumbs that users press to persona-router, which learns from them whose answers each user likes.
"""

# One file, for the administrator: Admin Panel, Functions, New Function, paste, save, switch on, set the valves.
# Beside it, the connection to persona-router (Admin Panel, Settings, Connections) needs the header
#   {"X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}{{TASK}}"}
# and the server ENABLE_FORWARD_USER_INFO_HEADERS=true, so that an answer and a thumb name the same message and user.

import base64
import hashlib
import hmac
import json
import logging
import time

import aiohttp
from open_webui.models.feedbacks import Feedbacks
from pydantic import BaseModel, Field

log = logging.getLogger(__name__)

RATINGS = {1: "up", -1: "down", "1": "up", "-1": "down"}
TIMEOUT_S = 10


class Event:
    """Runs at `feedback.created` and `feedback.updated`: what a user presses, and what they change it to."""

    class Valves(BaseModel):
        base_url: str = Field(default="http://127.0.0.1:8787/v1", description="Where persona-router is")
        api_key: str = Field(default="", description="A key of the tenant that the connection uses")
        send_comments: bool = Field(default=False, description="Send what users write beside a thumb, too")
        jwt_secret: str = Field(default="", description="FORWARD_USER_INFO_HEADER_JWT_SECRET, where it is set")

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def event(self, event: dict) -> None:
        if event.get("event") not in ("feedback.created", "feedback.updated"):
            return
        feedback = await Feedbacks.get_feedback_by_id((event.get("subject") or {}).get("id"))
        if feedback is None or feedback.type != "rating":
            return
        body = feedback_body(feedback.data or {}, feedback.meta or {}, self.valves.send_comments)
        if body is not None:
            await self.send(feedback.user_id, body)

    async def send(self, user_id: str, body: dict) -> None:
        headers = {"authorization": f"Bearer {self.valves.api_key}", "x-openwebui-user-id": user_id}
        if self.valves.jwt_secret:
            headers["x-openwebui-user-jwt"] = user_token(user_id, self.valves.jwt_secret)
        url = f"{self.valves.base_url.rstrip('/')}/feedback"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url, json=body, headers=headers) as answer:
            # 404: an answer that persona-router did not give, such as another connection's.
            if answer.status not in (202, 404):
                log.warning("persona-router refused feedback: HTTP %s", answer.status)


def feedback_body(data: dict, meta: dict, send_comments: bool) -> dict | None:
    """What `POST /v1/feedback` takes; None where nothing was rated."""
    rating = RATINGS.get(data.get("rating"))
    if rating is None or not meta.get("message_id"):
        return None
    body = {"message_id": meta["message_id"], "rating": rating}
    if send_comments and data.get("comment"):
        body["comment"] = str(data["comment"])[:4000]
    return body


def user_token(user_id: str, secret: str) -> str:
    """A token as Open WebUI itself signs it (RFC 7519, HS256), valid for a minute."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": user_id, "iss": "open-webui", "iat": now, "exp": now + 60}]
    signed = b".".join(base64url(json.dumps(part).encode()) for part in parts)
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64url(signature)).decode()


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
