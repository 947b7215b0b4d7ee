module pushhub.test/peer-gorush

go 1.25.12

require (
	github.com/appleboy/gorush v1.22.0
	github.com/sideshow/apns2 v0.25.0
	pushhub.test/peers v0.0.0
)
