"""Drives the WNS of django-push-notifications, unmodified."""

from peer import each, setting
from django.conf import settings

settings.configure(
    PUSH_NOTIFICATIONS_SETTINGS={
        "WNS_PACKAGE_SECURITY_ID": setting("PEER_PACKAGE_SID"),
        "WNS_SECRET_KEY": setting("PEER_SECRET"),
    }
)
from push_notifications.wns import wns_send_message  # noqa: E402 (reads the settings)


def send(handle):
    wns_send_message(handle, message="Slalom")


each(send)
