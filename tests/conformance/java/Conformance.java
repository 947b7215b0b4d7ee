// Drives a hub with the back-end SDK for Java, and with the JDK's own HTTP/2 client as the newer SDK speaks (contracts:
// section 11.2). One line per check; the exit code is the number of checks that failed.

import com.windowsazure.messaging.*;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Conformance {
    private static final Random random = new Random();
    private static int failed = 0;

    private static String environment(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) throw new IllegalStateException(name + " is not set");
        return value;
    }

    private static void check(String name, Callable<Boolean> body) {
        String outcome;
        try {
            outcome = body.call() ? null : "is not so";
        } catch (Throwable error) {
            outcome = error.toString();
        }
        if (outcome != null) failed++;
        System.out.println(outcome == null ? "ok - " + name : "not ok - " + name + ": " + outcome);
    }

    private static String token() {
        StringBuilder digits = new StringBuilder();
        while (digits.length() < 64) digits.append(String.format("%02X", random.nextInt(256)));
        return digits.toString();
    }

    private static String tag() {
        return "java:" + UUID.randomUUID();
    }

    private static Set<String> set(String... values) {
        return new HashSet<>(Arrays.asList(values));
    }

    /** The status that a call is refused with; 0 when it succeeds. */
    private static int refusal(Callable<?> call) throws Exception {
        try {
            call.call();
            return 0;
        } catch (NotificationHubsException error) {
            return error.httpStatusCode();
        }
    }

    private static NotificationTelemetry last(NotificationHub hub, String id) throws Exception {
        long deadline = System.currentTimeMillis() + 20_000;
        while (true) {
            NotificationTelemetry telemetry = hub.getNotificationTelemetry(id);
            NotificationStatus status = telemetry.getNotificationStatus();
            boolean open = status == NotificationStatus.Enqueued || status == NotificationStatus.Processing;
            if (!open || System.currentTimeMillis() > deadline) return telemetry;
            Thread.sleep(20);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String connection = environment("PUSHHUB_CONNECTION_STRING");
        String name = environment("PUSHHUB_JAVA_HUB");
        NotificationHub hub = new NotificationHub(connection, name);
        registrations(hub);
        installations(hub);
        sends(hub);
        schedules(hub);
        hubs(connection);
        overHttp2(connection, name);
        System.out.println("# failed " + failed);
        System.exit(failed);  // the SDK's client keeps threads
    }

    private static void registrations(NotificationHub hub) {
        String mpns = "http://sn1.notify.live.net/throttledthirdparty/01.00/" + UUID.randomUUID();
        String wns = "https://dm3p.notify.windows.com/?token=" + UUID.randomUUID();
        String toast = "<toast><visual><binding template=\"ToastText01\"><text id=\"1\">$(text)</text></binding></visual></toast>";
        Map<String, String> toastHeaders = new HashMap<>();
        toastHeaders.put("X-WNS-Type", "wns/toast");
        List<Registration> kinds = new ArrayList<>();
        kinds.add(new AppleRegistration(token()));
        kinds.add(new AppleTemplateRegistration(token(), "{\"aps\":{\"alert\":\"$(text)\"}}"));
        kinds.add(new GcmRegistration("gcm:" + UUID.randomUUID()));
        kinds.add(new GcmTemplateRegistration("gcm:" + UUID.randomUUID(), "{\"data\":{\"m\":\"$(text)\"}}"));
        kinds.add(new FcmRegistration("fcm:" + UUID.randomUUID()));
        kinds.add(new WindowsRegistration(URI.create(wns)));
        kinds.add(new WindowsTemplateRegistration(URI.create(wns), toast, toastHeaders));
        kinds.add(new MpnsRegistration(URI.create(mpns)));
        kinds.add(new AdmRegistration("amzn1.adm." + UUID.randomUUID()));
        kinds.add(new BaiduRegistration("880552011700071112", "4056017388190293717"));
        for (Registration registration : kinds) {
            String kind = registration.getClass().getSimpleName();
            String tag = tag();
            registration.setTags(set(tag, "lang:nl"));
            check(kind + " is created, read, updated, upserted, listed and deleted", () -> {
                Registration made = hub.createRegistration(registration);
                Registration read = hub.getRegistration(made.getRegistrationId());
                read.setTags(set(tag, "lang:de"));
                Registration updated = hub.updateRegistration(read);
                Registration upserted = hub.upsertRegistration(updated);
                List<Registration> list = hub.getRegistrationsByTag(tag).getRegistrations();
                boolean listed = list.size() == 1 && list.get(0).getRegistrationId().equals(made.getRegistrationId());
                hub.deleteRegistration(upserted);
                int gone = refusal(() -> hub.getRegistration(made.getRegistrationId()));
                // This SDK writes its Fcm classes as Gcm and reads them back as that.
                boolean same = made.getClass() == registration.getClass() || registration instanceof FcmRegistration;
                return same && made.getTags().contains("lang:nl")
                    && updated.getTags().contains("lang:de") && made.getExpirationTime() != null
                    && "1".equals(made.getEtag()) && "2".equals(updated.getEtag()) && listed && gone == 404;
            });
        }
        check("an id is reserved, and a registration of that id is found by its channel", () -> {
            String id = hub.createRegistrationId();
            AppleRegistration registration = new AppleRegistration(id, token());
            hub.upsertRegistration(registration);
            List<Registration> found = hub.getRegistrationsByChannel(registration.getDeviceToken()).getRegistrations();
            hub.deleteRegistration(id);
            return found.size() == 1 && found.get(0).getRegistrationId().equals(id);
        });
        check("deleting what is not there is no error", () -> {
            hub.deleteRegistration("123-456-1");
            return true;
        });
        check("lists page by continuation tokens", () -> {
            String tag = tag();
            for (int i = 0; i < 5; i++) {
                AppleRegistration registration = new AppleRegistration(token());
                registration.setTags(set(tag));
                hub.createRegistration(registration);
            }
            Set<String> seen = new HashSet<>();
            String continuation = null;
            int pages = 0;
            do {
                CollectionResult page = hub.getRegistrationsByTag(tag, 2, continuation);
                for (Registration registration : page.getRegistrations()) seen.add(registration.getRegistrationId());
                continuation = page.getContinuationToken();
                pages++;
            } while (continuation != null && pages < 10);
            return seen.size() == 5 && pages == 3;
        });
        check("a stale ETag is refused with 412", () -> {
            Registration made = hub.createRegistration(new AppleRegistration(token()));
            hub.updateRegistration(made);
            int status = refusal(() -> hub.updateRegistration(made));
            hub.deleteRegistration(made.getRegistrationId());
            return status == 412;
        });
    }

    private static void installations(NotificationHub hub) {
        Map<NotificationPlatform, String> channels = new HashMap<>();
        channels.put(NotificationPlatform.Apns, token());
        channels.put(NotificationPlatform.Gcm, "gcm:" + UUID.randomUUID());
        channels.put(NotificationPlatform.Adm, "amzn1.adm." + UUID.randomUUID());
        channels.put(NotificationPlatform.Wns, "https://dm3p.notify.windows.com/?token=" + UUID.randomUUID());
        channels.put(NotificationPlatform.Mpns, "http://sn1.notify.live.net/t/" + UUID.randomUUID());
        for (Map.Entry<NotificationPlatform, String> row : channels.entrySet()) {
            check("an installation on " + row.getKey() + " is put, read, patched and deleted", () -> {
                String id = UUID.randomUUID().toString();
                Installation installation = new Installation(id, row.getKey(), row.getValue(), "foo");
                hub.createOrUpdateInstallation(installation);
                hub.patchInstallation(id, new PartialUpdateOperation(UpdateOperationType.Add, "/tags", "bar"));
                Installation back = hub.getInstallation(id);
                hub.deleteInstallation(id);
                int gone = refusal(() -> hub.getInstallation(id));
                return back.getPlatform() == row.getKey() && back.getPushChannel().equals(row.getValue())
                    && back.getTags().containsAll(Arrays.asList("foo", "bar")) && back.getExpirationTime() != null
                    && !back.isPushChannelExpired() && gone == 404;
            });
        }
        check("a template is added by a patch whose value is text", () -> {
            String id = UUID.randomUUID().toString();
            hub.createOrUpdateInstallation(new Installation(id, NotificationPlatform.Apns, token()));
            String body = "{\"aps\":{\"alert\":\"$(value)\"}}";
            InstallationTemplate template = new InstallationTemplate(body);
            hub.patchInstallation(id, new PartialUpdateOperation(UpdateOperationType.Add, "/templates/t", template.toJson()));
            Installation back = hub.getInstallation(id);
            hub.deleteInstallation(id);
            return back.getTemplates().get("t").getBody().equals(body);
        });
    }

    private static void sends(NotificationHub hub) {
        check("a native send reaches its tag and telemetry counts it", () -> {
            String tag = tag();
            AppleRegistration registration = new AppleRegistration(token());
            registration.setTags(set(tag));
            hub.createRegistration(registration);
            Notification notification = Notification.createAppleNotification("{\"aps\":{\"alert\":\"Storm\"}}");
            NotificationOutcome byExpression = hub.sendNotification(notification, tag + " && !other");
            NotificationTelemetry telemetry = last(hub, byExpression.getNotificationId());
            NotificationOutcome bySet = hub.sendNotification(notification, set(tag, "or-this"));
            NotificationTelemetry second = last(hub, bySet.getNotificationId());
            return byExpression.getTrackingId() != null && telemetry.getNotificationStatus() == NotificationStatus.Completed
                && telemetry.getApnsOutcomeCounts().get("Success") == 1 && second.getApnsOutcomeCounts().get("Success") == 1
                && telemetry.getEnqueueTime() != null && telemetry.getTargetPlatforms().contains("apple");
        });
        check("a template send renders", () -> {
            String tag = tag();
            AppleTemplateRegistration registration = new AppleTemplateRegistration(token(), "{\"aps\":{\"alert\":\"$(text)\"}}");
            registration.setTags(set(tag));
            hub.createRegistration(registration);
            Map<String, String> properties = new HashMap<>();
            properties.put("text", "Fog");
            NotificationOutcome sent = hub.sendNotification(Notification.createTemplateNotification(properties), tag);
            return last(hub, sent.getNotificationId()).getNotificationStatus() == NotificationStatus.Completed;
        });
        check("direct sends reach one handle and many", () -> {
            Notification notification = Notification.createAppleNotification("{\"aps\":{\"alert\":\"Storm\"}}");
            NotificationTelemetry one = last(hub, hub.sendDirectNotification(notification, token()).getNotificationId());
            List<String> handles = Arrays.asList(token(), token(), token());
            NotificationTelemetry many = last(hub, hub.sendDirectNotification(notification, handles).getNotificationId());
            return one.getApnsOutcomeCounts().get("Success") == 1 && many.getApnsOutcomeCounts().get("Success") == 3;
        });
        check("a broken expression is refused with 400", () -> {
            Notification notification = Notification.createAppleNotification("{\"aps\":{}}");
            return refusal(() -> hub.sendNotification(notification, "a &&")) == 400;
        });
    }

    private static void schedules(NotificationHub hub) {
        check("a send is scheduled and cancelled", () -> {
            Notification notification = Notification.createAppleNotification("{\"aps\":{\"alert\":\"Later\"}}");
            Date at = new Date(System.currentTimeMillis() + 3_600_000);
            NotificationOutcome scheduled = hub.scheduleNotification(notification, tag(), at);
            boolean waits = hub.getNotificationTelemetry(scheduled.getNotificationId()).getNotificationStatus()
                == NotificationStatus.Scheduled;
            hub.cancelScheduledNotification(scheduled.getNotificationId());
            boolean cancelled = hub.getNotificationTelemetry(scheduled.getNotificationId()).getNotificationStatus()
                == NotificationStatus.Canceled;
            hub.cancelScheduledNotification("no-such-notification");
            return waits && cancelled;
        });
    }

    private static void hubs(String connection) {
        // No list: it holds hubs with FCM v1 credentials, at which this SDK stumbles.
        check("hubs are created, read, updated and deleted", () -> {
            NamespaceManager manager = new NamespaceManager(connection);
            String path = "java-" + UUID.randomUUID().toString().substring(0, 8);
            NotificationHubDescription description = new NotificationHubDescription(path);
            GcmCredential credential = new GcmCredential();
            credential.setGoogleApiKey("AIzaExample");
            description.setGcmCredential(credential);
            manager.createNotificationHub(description);
            NotificationHubDescription read = manager.getNotificationHub(path);
            manager.updateNotificationHub(description);
            manager.deleteNotificationHub(path);
            int gone = refusal(() -> manager.getNotificationHub(path));
            return path.equals(read.getPath()) && "AIzaExample".equals(read.getGcmCredential().getGoogleApiKey())
                && gone == 404;
        });
    }

    // --- HTTP/2 only, signed and spelled as the newer SDK does ---

    private static String sas(String url, String rule, String key) throws Exception {
        String resource = URLEncoder.encode(url.toLowerCase(), StandardCharsets.UTF_8).toLowerCase();
        long expiry = System.currentTimeMillis() / 1000 + 3600;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        byte[] signature = mac.doFinal((resource + "\n" + expiry).getBytes(StandardCharsets.UTF_8));
        String text = URLEncoder.encode(Base64.getEncoder().encodeToString(signature), StandardCharsets.UTF_8);
        return "SharedAccessSignature sr=" + resource + "&sig=" + text + "&se=" + expiry + "&skn=" + rule;
    }

    private static void overHttp2(String connection, String name) {
        Map<String, String> parts = new HashMap<>();
        for (String part : connection.split(";")) {
            int at = part.indexOf('=');
            if (at > 0) parts.put(part.substring(0, at), part.substring(at + 1));
        }
        String root = "https" + parts.get("Endpoint").substring(2) + name + "/";
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        class Http2 {
            HttpResponse<String> call(String method, String path, String body, String... headers) throws Exception {
                String url = root + path + (path.contains("?") ? "&" : "?") + "api-version=2020-06";
                HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url))
                    .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
                    .header("Authorization", sas(url, parts.get("SharedAccessKeyName"), parts.get("SharedAccessKey")))
                    .header("TrackingId", UUID.randomUUID().toString());
                for (int i = 0; i < headers.length; i += 2) request.header(headers[i], headers[i + 1]);
                return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            }
        }
        Http2 http2 = new Http2();
        check("HTTP/2: registration ids, registrations, installations", () -> {
            HttpResponse<String> id = http2.call("POST", "registrationids", null);
            String entry = "<?xml version=\"1.0\" encoding=\"utf-8\"?><entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\">"
                + "<AppleRegistrationDescription xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">"
                + "<Tags>h2</Tags><DeviceToken>" + token() + "</DeviceToken></AppleRegistrationDescription></content></entry>";
            String registrationId = URI.create(id.headers().firstValue("Location").get()).getPath().split("/")[3];
            HttpResponse<String> put = http2.call("PUT", "registrations/" + registrationId, entry, "Content-Type", "application/atom+xml");
            HttpResponse<String> get = http2.call("GET", "registrations/" + registrationId, null);
            HttpResponse<String> delete = http2.call("DELETE", "registrations/" + registrationId, null, "If-Match", "*");
            String installationId = UUID.randomUUID().toString();
            String json = "{\"installationId\":\"" + installationId + "\",\"platform\":\"apns\",\"pushChannel\":\"" + token() + "\"}";
            HttpResponse<String> install = http2.call("PUT", "installations/" + installationId, json, "Content-Type", "application/json");
            HttpResponse<String> gone = http2.call("DELETE", "installations/" + installationId, null);
            return id.version() == HttpClient.Version.HTTP_2 && id.statusCode() == 201 && put.statusCode() == 200
                && get.statusCode() == 200 && get.body().equals(put.body()) && delete.statusCode() == 200
                && install.statusCode() == 200 && install.body().isEmpty() && gone.statusCode() == 204;
        });
        check("HTTP/2: sends and telemetry", () -> {
            HttpResponse<String> sent = http2.call("POST", "messages?direct", "{\"aps\":{\"alert\":\"h2\"}}", "Content-Type",
                "application/json;charset=utf-8", "ServiceBusNotification-Format", "apple", "ServiceBusNotification-DeviceHandle", token(),
                "ServiceBusNotification-Apns-Expiry", "01/02/2031 03:04:05");
            String id = URI.create(sent.headers().firstValue("Location").get()).getPath().split("/")[3];
            String body = "";
            for (int i = 0; i < 500 && !body.contains("<State>Completed</State>"); i++) {
                body = http2.call("GET", "messages/" + id, null).body();
                Thread.sleep(20);
            }
            return sent.version() == HttpClient.Version.HTTP_2 && sent.statusCode() == 201 && body.contains("<Name>Success</Name><Count>1</Count>");
        });
        check("HTTP/2: Apple headers without a format are an Apple send", () ->
            http2.call("POST", "messages", "{\"aps\":{\"alert\":\"x\"}}", "Content-Type", "application/json", "apns-push-type", "alert",
                "ServiceBusNotification-Tags", "nobody-at-all").statusCode() == 201);
    }
}
