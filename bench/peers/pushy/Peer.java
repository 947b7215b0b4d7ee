// Drives Pushy (com.eatthepath:pushy), unmodified: bench/peers/prepare tells the protocol. As its documentation advises: one
// event loop for each connection, native TLS, and a bound on what is in flight.
import com.eatthepath.pushy.apns.ApnsClient;
import com.eatthepath.pushy.apns.ApnsClientBuilder;
import com.eatthepath.pushy.apns.auth.ApnsSigningKey;
import com.eatthepath.pushy.apns.util.SimpleApnsPushNotification;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollEventLoopGroup;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.handler.ssl.OpenSsl;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

public final class Peer {
  private static final int IN_FLIGHT_PER_CONNECTION = 1_000;
  private static final int REFUSALS_SHOWN = 5;

  private static String setting(String name) {
    final String value = System.getenv(name);
    if (value == null) throw new IllegalStateException(name + " is not set");
    return value;
  }

  public static void main(String[] args) throws Exception {
    final int connections = Integer.parseInt(setting("PEER_CONNECTIONS"));
    final List<String> handles = Files.readAllLines(Path.of(setting("PEER_HANDLES")));
    final String topic = setting("PEER_TOPIC");
    final String body = setting("PEER_BODY");
    final ApnsSigningKey key =
        ApnsSigningKey.loadFromPkcs8File(
            new File(setting("PEER_KEY_FILE")), setting("PEER_TEAM_ID"), setting("PEER_KEY_ID"));
    final EventLoopGroup loops =
        Epoll.isAvailable() ? new EpollEventLoopGroup(connections) : new NioEventLoopGroup(connections);
    if (!Epoll.isAvailable() || !OpenSsl.isAvailable())
      System.out.println("slower: without epoll or without native TLS");
    final ApnsClient client =
        new ApnsClientBuilder()
            .setApnsServer("localhost", Integer.parseInt(setting("PEER_PORT")))
            .setTrustedServerCertificateChain(new File(setting("PEER_CA")))
            .setSigningKey(key)
            .setConcurrentConnections(connections)
            .setEventLoopGroup(loops)
            .build();
    final int inFlight = IN_FLIGHT_PER_CONNECTION * connections;
    final Semaphore room = new Semaphore(inFlight);
    System.out.println("ready");
    final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = input.readLine()) != null; ) {
      final String[] order = line.split(" ");
      final int from = Integer.parseInt(order[1]);
      final int count = Integer.parseInt(order[2]);
      final AtomicInteger failed = new AtomicInteger();
      for (int i = from; i < from + count; ++i) {
        final String handle = handles.get(i);
        room.acquire();
        client
            .sendNotification(new SimpleApnsPushNotification(handle, topic, body))
            .whenComplete(
                (response, error) -> {
                  room.release();
                  if (error == null && response.isAccepted()) return;
                  if (failed.getAndIncrement() >= REFUSALS_SHOWN) return;
                  final String reason =
                      error != null ? error.toString() : response.getRejectionReason().orElse("?");
                  System.out.println("refused " + order[0] + " " + handle + " " + reason);
                });
      }
      room.acquire(inFlight);
      room.release(inFlight);
      System.out.println("done " + order[0] + " " + (count - failed.get()) + " " + failed.get());
    }
    client.close().get();
    loops.shutdownGracefully().get();
  }
}
