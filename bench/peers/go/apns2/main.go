// Drives github.com/sideshow/apns2, unmodified, with a client for each connection: bench/peers/prepare tells the protocol.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"pushhub.test/peers/peer"
)

const inFlightPerConnection = 1000

func main() {
	// Go takes its authorities from here.
	if err := os.Setenv("SSL_CERT_FILE", peer.Setting("PEER_CA")); err != nil {
		log.Fatal(err)
	}
	key, err := token.AuthKeyFromFile(peer.Setting("PEER_KEY_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	clients := make([]*apns2.Client, peer.Number("PEER_CONNECTIONS"))
	for i := range clients {
		auth := &token.Token{AuthKey: key, KeyID: peer.Setting("PEER_KEY_ID"), TeamID: peer.Setting("PEER_TEAM_ID")}
		clients[i] = apns2.NewTokenClient(auth)
		clients[i].Host = "https://localhost:" + peer.Setting("PEER_PORT")
	}
	body, topic := []byte(peer.Setting("PEER_BODY")), peer.Setting("PEER_TOPIC")
	peer.Rounds(peer.Handles(), func(handles []string, refused func(handle, reason string)) {
		peer.Spread(handles, inFlightPerConnection*len(clients), func(worker int, handle string) {
			push := &apns2.Notification{DeviceToken: handle, Topic: topic, Payload: body}
			answer, err := clients[worker%len(clients)].Push(push)
			switch {
			case err != nil:
				refused(handle, fmt.Sprint(err))
			case !answer.Sent():
				refused(handle, answer.Reason)
			}
		})
	})
}
