"""Drives firebase_admin, unmodified, which signs in and sends."""

import json

from peer import reason_of, rounds, setting
import firebase_admin
from firebase_admin import credentials, messaging

with open(setting("PEER_SERVICE_ACCOUNT"), encoding="utf8") as file:
    account = json.load(file)
account["token_uri"] = "https://oauth2.googleapis.com/token"
firebase_admin.initialize_app(credentials.Certificate(account))
text = json.loads(setting("PEER_BODY"))["message"]["notification"]["body"]


def send_all(part):
    messages = [messaging.Message(token=token, notification=messaging.Notification(body=text)) for token in part]
    return [None if one.success else reason_of(one.exception) for one in messaging.send_each(messages).responses]


rounds(send_all)
