"""Drives aioapns, unmodified."""

import asyncio
import json

from peer import rounds, setting
from aioapns import APNs, NotificationRequest

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
body = json.loads(setting("PEER_BODY"))


async def make():
    with open(setting("PEER_KEY_FILE"), encoding="utf8") as key:
        return APNs(
            key=key.read(),
            key_id=setting("PEER_KEY_ID"),
            team_id=setting("PEER_TEAM_ID"),
            topic=setting("PEER_TOPIC"),
            use_sandbox=False,
        )


client = loop.run_until_complete(make())


async def send(handle):
    answer = await client.send_notification(NotificationRequest(device_token=handle, message=body))
    return None if answer.is_successful else answer.description


async def send_all(part):
    return await asyncio.gather(*map(send, part))


rounds(lambda part: loop.run_until_complete(send_all(part)))
