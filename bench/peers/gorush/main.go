// Drives the push code of gorush, unmodified, without its HTTP server and queue, which would only add to its cost:
// bench/peers/prepare tells the protocol. gorush always asks for Apple's host, so the function that connects leads it to
// the simulator.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log"
	"net"
	"os"

	"github.com/appleboy/gorush/config"
	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/logx"
	"github.com/appleboy/gorush/notify"
	"github.com/appleboy/gorush/status"
	"github.com/sideshow/apns2"
	"pushhub.test/peers/peer"
)

const inFlightPerConnection = 1000

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	// Go takes its authorities from here.
	must(os.Setenv("SSL_CERT_FILE", peer.Setting("PEER_CA")))
	connect, there := apns2.DialTLS, "127.0.0.1:"+peer.Setting("PEER_PORT")
	apns2.DialTLS = func(network, _ string, settings *tls.Config) (net.Conn, error) {
		return connect(network, there, settings)
	}
	settings, err := config.LoadConf()
	must(err)
	settings.Log.HideToken = false
	settings.Ios.Enabled = true
	settings.Ios.Production = true
	settings.Ios.KeyPath = peer.Setting("PEER_KEY_FILE")
	settings.Ios.KeyID = peer.Setting("PEER_KEY_ID")
	settings.Ios.TeamID = peer.Setting("PEER_TEAM_ID")
	settings.Ios.MaxConcurrentPushes = uint(inFlightPerConnection * peer.Number("PEER_CONNECTIONS"))
	must(logx.InitLog("error", "stderr", "error", os.DevNull))
	must(status.InitAppStatus(settings))
	must(notify.InitAPNSClient(context.Background(), settings))
	var body struct{ Aps struct{ Alert string } }
	must(json.Unmarshal([]byte(peer.Setting("PEER_BODY")), &body))
	topic := peer.Setting("PEER_TOPIC")
	peer.Rounds(peer.Handles(), func(handles []string, refused func(handle, reason string)) {
		answer, err := notify.PushToIOS(context.Background(), &notify.PushNotification{
			Tokens: handles, Platform: core.PlatFormIos, Topic: topic, Message: body.Aps.Alert,
		}, settings)
		must(err)
		for _, one := range answer.Logs {
			refused(one.Token, one.Error)
		}
	})
}
