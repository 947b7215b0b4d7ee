// Drives github.com/SherClockHolmes/webpush-go, unmodified: bench/peers/prepare tells the protocol. A handle is the JSON of a
// subscription. The client's transport leads every host to the simulator.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
	"pushhub.test/peers/peer"
)

const inFlightPerConnection = 250

func main() {
	// Go takes its authorities from here.
	if err := os.Setenv("SSL_CERT_FILE", peer.Setting("PEER_CA")); err != nil {
		log.Fatal(err)
	}
	there := "127.0.0.1:" + peer.Setting("PEER_PORT")
	clients := make([]*http.Client, peer.Number("PEER_CONNECTIONS"))
	for i := range clients {
		clients[i] = &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, there)
			},
		}}
	}
	body := []byte(peer.Setting("PEER_BODY"))
	public, private, subject := peer.Setting("PEER_VAPID_PUBLIC"), peer.Setting("PEER_VAPID_PRIVATE"), peer.Setting("PEER_SUBJECT")
	peer.Rounds(peer.Handles(), func(handles []string, refused func(handle, reason string)) {
		peer.Spread(handles, inFlightPerConnection*len(clients), func(worker int, handle string) {
			var to struct{ Endpoint, P256dh, Auth string }
			if err := json.Unmarshal([]byte(handle), &to); err != nil {
				log.Fatal(err)
			}
			subscription := &webpush.Subscription{Endpoint: to.Endpoint, Keys: webpush.Keys{P256dh: to.P256dh, Auth: to.Auth}}
			answer, err := webpush.SendNotification(body, subscription, &webpush.Options{
				HTTPClient: clients[worker%len(clients)], Subscriber: subject, TTL: 2419200,
				VAPIDPublicKey: public, VAPIDPrivateKey: private,
			})
			if err != nil {
				refused(handle, fmt.Sprint(err))
				return
			}
			defer answer.Body.Close()
			if said, _ := io.ReadAll(answer.Body); answer.StatusCode/100 != 2 {
				refused(handle, answer.Status+" "+string(said))
			}
		})
	})
}
