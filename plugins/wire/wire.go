// Package wire is what a Stowage master and its plugins say to one another: the hand-shake, the messages of
// plugin.proto and their conversion to and from the nouns. Both the host and the SDK use it, and a plugin in another
// language needs nothing but plugin.proto and the hand-shake described here:
//
//   - The plugin is started with the environment variable CookieKey set to Cookie, PLUGIN_PROTOCOL_VERSIONS listing the
//     versions that the host speaks, and PLUGIN_UNIX_SOCKET_DIR naming a private folder.
//   - It listens on a Unix socket in that folder and prints one line to its standard output:
//     1|1|unix|PATH OF THE SOCKET|grpc|
//     where the second number is the version of plugin.proto. Nothing may be printed before.
//   - On the socket it serves gRPC without TLS: the services of plugin.proto and, with the service name "plugin", the
//     standard grpc.health.v1.Health.
//   - Its standard error is its log: lines of text, or of JSON with "level", "msg" and further keys.
//   - Its standard input is a pipe that ends when the host is gone; then the plugin exits.
package wire

//go:generate sh generate.sh

// The hand-shake. The cookie protects nobody; it tells a plugin that was started by hand to say so.
const (
	CookieKey   = "STOWAGE_PLUGIN"
	Cookie      = "v1"
	SocketDir   = "PLUGIN_UNIX_SOCKET_DIR"
	VersionsKey = "PLUGIN_PROTOCOL_VERSIONS"
	// CoreVersion is the version of the hand-shake line itself.
	CoreVersion = 1
	// Version is the version of plugin.proto.
	Version = 1
	// HealthService is the name under which a plugin reports its health.
	HealthService = "plugin"
)

// The limits of one message, in bytes.
const (
	// MaxQuestion holds a batch for 100,000 nodes.
	MaxQuestion = 64 << 20
	// MaxAnswer holds the apps of a large system; a plugin that answers more is refused.
	MaxAnswer = 16 << 20
)
