"""Says on standard output, for a shell to source, what schemathesis needs to talk to the hub of PUSHHUB_CONNECTION_STRING;
writes its description to the file of the first argument."""

import base64
import hashlib
import hmac
import os
import shlex
import sys
import time
from urllib.parse import parse_qs, quote, urlsplit

import requests

url, hub, ca = (os.environ[name] for name in ("PUSHHUB_URL", "PUSHHUB_HUB", "PUSHHUB_CA_FILE"))
parts = dict(part.split("=", 1) for part in os.environ["PUSHHUB_CONNECTION_STRING"].split(";") if part)
resource, expiry = quote(f"{url}/".lower(), safe=""), int(time.time()) + 3600
digest = hmac.new(parts["SharedAccessKey"].encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
signature = quote(base64.b64encode(digest), safe="")
authorization = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={parts['SharedAccessKeyName']}"


def get(path):
    answer = requests.get(url + path, headers={"Authorization": authorization}, verify=ca, timeout=20)
    answer.raise_for_status()
    return answer.text


with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(get("/openapi.json"))
uploads = urlsplit(get(f"/{hub}/blobcontainers/uploads"))
query = parse_qs(uploads.query)
for name, value in {
    "OPENAPI_AUTHORIZATION": authorization,
    "OPENAPI_CONTAINER": uploads._replace(query="").geturl(),
    "OPENAPI_SE": query["se"][0],
    "OPENAPI_SIG": query["sig"][0],
}.items():
    print(f"export {name}={shlex.quote(value)}")
