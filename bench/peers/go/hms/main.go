// Drives github.com/appleboy/go-hms-push, a continuation of Huawei's SDK, unmodified: bench/peers/prepare tells the protocol.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/appleboy/go-hms-push/push/config"
	"github.com/appleboy/go-hms-push/push/core"
	"github.com/appleboy/go-hms-push/push/model"
	"pushhub.test/peers/peer"
)

const (
	atOnce  = 16
	success = "80000000"
)

func main() {
	// Go takes its authorities from here.
	if err := os.Setenv("SSL_CERT_FILE", peer.Setting("PEER_CA")); err != nil {
		log.Fatal(err)
	}
	origin := "https://localhost:" + peer.Setting("PEER_PORT")
	client, err := core.NewHttpClient(&config.Config{
		AppId: peer.Setting("PEER_APP_ID"), AppSecret: peer.Setting("PEER_SECRET"),
		AuthUrl: origin + "/oauth2/v3/token", PushUrl: origin,
	})
	if err != nil {
		log.Fatal(err)
	}
	peer.Rounds(peer.Handles(), func(handles []string, refused func(handle, reason string)) {
		peer.Spread(handles, atOnce, func(_ int, handle string) {
			message := model.NewTransparentMsgRequest()
			message.Message.Data = peer.Setting("PEER_BODY")
			message.Message.Token = []string{handle}
			switch answer, err := client.SendMessage(context.Background(), message); {
			case err != nil:
				refused(handle, fmt.Sprint(err))
			case answer.Code != success:
				refused(handle, answer.Code+" "+answer.Msg)
			}
		})
	})
}
