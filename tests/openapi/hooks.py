"""What schemathesis cannot know of /openapi.json: values of the formats that are words of our own, and bodies as they are."""

import base64
import json
import os
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

import schemathesis
from hypothesis import strategies as st

tag = st.text("abcXYZ019_@#.:-äжな", min_size=1, max_size=20)
identifier = st.text("abcXYZ019_@#.:=-äжな", min_size=1, max_size=20)
apns_token = st.binary(min_size=32, max_size=32).map(lambda b: b.hex().upper())
channel_uri = st.integers(0, 10**9).map(lambda n: f"https://dm3p.notify.windows.com/w/?token={n}")
endpoint = st.integers(0, 10**9).map(lambda n: f"https://fcm.googleapis.com/fcm/send/{n}")
point = "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"
secret = st.binary(min_size=16, max_size=64).map(lambda b: base64.urlsafe_b64encode(b).decode().rstrip("="))


def time_from(first, last):
    """Times as clients write them, between two numbers of minutes from now."""
    form = st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.123Z", "%Y-%m-%d %H:%M"])
    return st.builds(lambda n, f: (datetime.now(timezone.utc) + timedelta(minutes=n)).strftime(f), st.integers(first, last), form)


expression = st.recursive(
    st.one_of(tag, identifier.map(lambda i: "$UserId:{" + i + "}")),
    lambda inner: st.one_of(
        inner.map(lambda a: "!" + a),
        st.builds(lambda a, op, b: f"({a}{op}{b})", inner, st.sampled_from(["&&", " || ", " && "]), inner),
    ),
    max_leaves=5,
)
filters = st.one_of(
    apns_token.map(lambda t: f"DeviceToken eq '{t}'"),
    channel_uri.map(lambda u: f"ChannelUri eq '{u}'"),
    st.sampled_from(["Gcm", "FcmV1", "Adm", "Xiaomi", "Hms"]).map(lambda k: f"{k}RegistrationId eq 'it''s'"),
)
subscription = st.builds(lambda e, s: json.dumps({"endpoint": e, "p256dh": point, "auth": s}), endpoint, secret)

connect = 'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"'


def entry(description):
    return f'<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">{description}</content></entry>'


tags_element = st.lists(tag, max_size=3).map(lambda ts: f"<Tags>{','.join(ts)}</Tags>" if ts else "")
registration = st.one_of(
    st.builds(
        lambda t, ts: entry(f"<AppleRegistrationDescription {connect}>{ts}<DeviceToken>{t}</DeviceToken></AppleRegistrationDescription>"),
        apns_token,
        tags_element,
    ),
    st.builds(
        lambda u, ts: f"<WindowsTemplateRegistrationDescription {connect}>{ts}<ChannelUri>{u}</ChannelUri>"
        "<BodyTemplate>$(m)</BodyTemplate><WnsHeaders><WnsHeader><Header>X-WNS-Type</Header><Value>wns/raw</Value></WnsHeader></WnsHeaders>"
        "</WindowsTemplateRegistrationDescription>",
        channel_uri,
        tags_element,
    ),
)
hub_entry = st.builds(
    lambda days, text: entry(
        f"<NotificationHubDescription {connect}><RegistrationTtl>P{days}D</RegistrationTtl><UserMetadata>{text}</UserMetadata></NotificationHubDescription>"
    ),
    st.integers(1, 1000),
    tag,
)

for name, strategy in {
    "id": identifier,
    "tag": tag,
    "tag-expression": expression,
    "handle-filter": filters,
    "continuation-token": st.just(""),
    "channel-uri": channel_uri,
    "device-handle": apns_token,
    "web-push-subscription": subscription,
    "web-push-endpoint": endpoint,
    "p256-point": st.just(point),
    "web-push-auth": secret,
    "point-in-time": time_from(-1_000_000, 1_000_000),
    "time-ahead": time_from(-1_000, 1_000_000),
    "time-within-a-week": time_from(-1_000, 10_000),
    "deadline": st.one_of(time_from(5, 10_000), st.integers(1, 1_000).map(lambda n: f"PT{n}M")),
    "registration-entry": registration,
    "hub-entry": hub_entry,
    "hub-of-run": st.just(os.environ["PUSHHUB_HUB"]),
    "spare-hub": st.just("spare"),
    "job-entry": st.just("").map(lambda _: job()),
    "xml-document": tag.map(lambda t: f"<toast>{t}</toast>"),
}.items():
    schemathesis.openapi.format(name, strategy)


def job():
    kind = "<Type>ExportRegistrations</Type>"
    return entry(f"<NotificationHubJob {connect}>{kind}<OutputContainerUri>{os.environ['OPENAPI_CONTAINER']}</OutputContainerUri></NotificationHubJob>")


@schemathesis.serializer("application/atom+xml", "application/xml", "application/octet-stream")
def as_it_is(ctx, value):
    """These bodies are described as text: schemathesis would wrap the text into elements."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """An id that stands in address and body is the same in both, which no schema can say."""
    body, meta = case.body, case.meta
    if case.operation.label == "PUT /{hub}/installations/{id}" and meta is not None and meta.generation.mode.is_positive:
        if isinstance(body, dict) and body.get("installationId") is not None:
            case.body = {**body, "installationId": unquote(case.path_parameters["id"])}


@schemathesis.hook
def before_load_schema(ctx, document):
    """Leads all requests to what this run has made, and examples of times and addresses to what is true of it."""
    parameters = document["components"]["parameters"]
    of_run = {
        "sr": "c",
        "sp": "rwl",
        "se": os.environ["OPENAPI_SE"],
        "sig": os.environ["OPENAPI_SIG"],
    }
    for name, value in of_run.items():
        parameters[name].update(schema={"enum": [value]}, example=value)
    parameters["scheduleTime"]["example"] = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    # One hub may go and come again; the one of all other requests may not. Of other names only the form is known.
    hub = parameters["hub"]
    parameters["spare"] = {**hub, "schema": {**hub["schema"], "format": "spare-hub"}, "example": "spare"}
    hub.update(schema={**hub["schema"], "format": "hub-of-run"}, example=os.environ["PUSHHUB_HUB"])
    for method in ("put", "delete"):
        document["paths"]["/{hub}"][method]["parameters"][0] = {"$ref": "#/components/parameters/spare"}
    # The signature opens one container.
    parameters["uploads"] = {**parameters["container"], "schema": {"enum": ["uploads"]}, "example": "uploads"}
    for path, item in document["paths"].items():
        for operation in item.values() if path.startswith("/$blobs/") else []:
            for parameter in operation["parameters"]:
                if parameter["$ref"].endswith("/container"):
                    parameter["$ref"] = "#/components/parameters/uploads"
    job = document["components"]["schemas"]["JobEntry"]
    job["examples"] = [text.replace("https://hub.internal/$blobs/news/jobs", os.environ["OPENAPI_CONTAINER"]) for text in job["examples"]]
