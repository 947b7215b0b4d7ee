"""What the drivers in Python have in common: ../prepare tells the protocol. None of the clients has an option for the host:
every name is this machine, and port 443 is PEER_PORT."""

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

REFUSALS_SHOWN = 5
AT_ONCE = 8

for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
    os.environ[name] = os.environ["PEER_CA"]
for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
    os.environ.pop(name, None)

look_up = socket.getaddrinfo


def lead(host, port, *rest, **more):
    if port in (443, "443", "https"):
        host, port = "127.0.0.1", int(os.environ["PEER_PORT"])
    return look_up(host, port, *rest, **more)


socket.getaddrinfo = lead


def setting(name):
    return os.environ[name]


with open(setting("PEER_HANDLES"), encoding="utf8") as file:
    handles = file.read().splitlines()


def reason_of(error):
    return " ".join(str(error).split()) or type(error).__name__


def rounds(send_all):
    """`send_all(handles)` gives the reason of a refusal, or None, for each."""
    print("ready", flush=True)
    for line in sys.stdin:
        number, first, count = map(int, line.split())
        part = handles[first : first + count]
        refused = [(handle, reason) for handle, reason in zip(part, send_all(part)) if reason is not None]
        for handle, reason in refused[:REFUSALS_SHOWN]:
            print("refused", number, handle, reason)
        print("done", number, count - len(refused), len(refused), flush=True)


def each(send):
    """`send(handle)` gives the reason of a refusal or None, or throws it."""

    def careful(handle):
        try:
            return send(handle)
        except Exception as error:  # whatever a client throws is its word for a refusal
            return reason_of(error)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        rounds(lambda part: list(pool.map(careful, part)))
