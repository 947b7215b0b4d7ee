"""Drives hpa, a Python client of Push Kit, unmodified."""

from peer import each, setting
import hpa
from hpa import messaging

hpa.initialize_app(setting("PEER_APP_ID"), setting("PEER_SECRET"))
android = messaging.AndroidConfig(
    notification=messaging.AndroidNotification(
        title="Slalom", body="Start", click_action=messaging.AndroidClickAction(action_type=3)
    )
)


def send(handle):
    answer = messaging.send_message(messaging.Message(token=[handle], android=android))
    return None if answer.code == "80000000" else f"{answer.code} {answer.reason}"


each(send)
