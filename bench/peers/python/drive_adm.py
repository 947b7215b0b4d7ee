"""Drives python-amazon-device-messaging, unmodified."""

from peer import each, setting
from pythonadm import AmazonDeviceMessaging

client = AmazonDeviceMessaging(client_id=setting("PEER_CLIENT_ID"), client_secret=setting("PEER_SECRET"))
token = client.request_token()


def send(handle):
    return client.send_message(handle, token, data={"text": "Slalom"}, expires_after=60).get("error")


each(send)
