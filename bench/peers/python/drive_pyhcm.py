"""Drives pyhcm, unmodified. It says of a push no more than whether it was taken."""

from peer import each, setting
from pyhcm import HCMNotification

client = HCMNotification(setting("PEER_APP_ID"), setting("PEER_SECRET"))


def send(handle):
    return None if client.notify_single_device(handle, "Slalom", "Start") else "invalid"


each(send)
