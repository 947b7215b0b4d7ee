"""Drives pywebpush, unmodified."""

import json

from peer import each, setting
from pywebpush import webpush

body = setting("PEER_BODY")


def send(handle):
    to = json.loads(handle)
    webpush(
        {"endpoint": to["endpoint"], "keys": {"p256dh": to["p256dh"], "auth": to["auth"]}},
        body,
        vapid_private_key=setting("PEER_VAPID_PRIVATE"),
        vapid_claims={"sub": setting("PEER_SUBJECT")},
        ttl=60,
    )


each(send)
