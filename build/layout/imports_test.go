package layout

import (
	"go/build/constraint"
	"slices"
	"strings"
	"testing"
)

// row says what one package may import.
type row struct {
	pkg string
	// of this module, without the module path
	uses []string
	// module paths of libraries
	libraries []string
	// what its tests may import besides
	tests []string
}

const (
	bbolt      = "go.etcd.io/bbolt"
	paho       = "github.com/eclipse/paho.mqtt.golang"
	pahoV5     = "github.com/eclipse/paho.golang" // a device of another make
	backoff    = "github.com/cenkalti/backoff/v4"
	mochi      = "github.com/mochi-mqtt/server/v2"
	gorilla    = "github.com/gorilla/websocket" // which paho brings along
	yaml       = "github.com/goccy/go-yaml"
	pflag      = "github.com/spf13/pflag"
	metrics    = "github.com/VictoriaMetrics/metrics"
	xTime      = "golang.org/x/time"
	xSync      = "golang.org/x/sync"
	xTerm      = "golang.org/x/term"
	xSys       = "golang.org/x/sys"
	xText      = "golang.org/x/text"
	script     = "github.com/rogpeppe/go-internal"
	browser    = "github.com/chromedp"
	pgx        = "github.com/jackc/pgx/v5"
	compress   = "github.com/klauspost/compress"                     // its zstd takes a program as dictionary
	secureKeys = "github.com/secure-systems-lab/go-securesystemslib" // which go-tuf brings along
	goTUF      = "github.com/theupdateframework/go-tuf/v2"           // of the publisher, and in tests what verifies beside us
)

// intaketest is what the tests of intake's rooms share.
const intaketest = "agent/intake/internal/intaketest"

// all stands for every package of the module.
const all = "*"

// arrows is the import graph. A new arrow is a decision: write it here, with
// its reason where it is not plain.
var arrows = []row{
	// Leaves: they know nothing of the rest.
	{pkg: "agent/scan"},
	{pkg: "agent/clock", libraries: []string{xSys}},
	{pkg: "configs/secret"},
	{pkg: "configs/textfile"},
	{pkg: "configs/tlsfile", uses: []string{"configs/textfile"}, tests: []string{"configs/tlsfile/tlstest"}},
	{pkg: "configs/tlsfile/tlstest"},
	{pkg: "configs/limit", libraries: []string{xTime}},
	{pkg: "configs/wait", libraries: []string{backoff}},
	{pkg: "configs/serve"},
	{pkg: "configs/exposition", libraries: []string{metrics}},

	{pkg: "configs/nearest"},

	{
		pkg: "configs",
		uses: []string{
			"agent/scan", "agent/intake/mapping", "agent/intake/user", // which know what is right
			"wechat", "configs/nearest", "configs/secret", "configs/textfile", "configs/tlsfile", "configs/wait", "uplink/syncapi/directive",
		},
		libraries: []string{yaml}, tests: []string{"configs/tlsfile/tlstest"},
	},
	{pkg: "wechat", uses: []string{"configs/secret", "configs/wait"}}, // else the standard library only: anyone may take it over

	{pkg: "wechat/callback", uses: []string{"wechat", "configs/secret", "configs/wait"}},
	{pkg: "wechat/fake", uses: []string{"wechat", "wechat/callback", "configs/secret", "configs/wait"}, libraries: []string{yaml}},

	// The outbox's leaves, which know nothing of it.
	{pkg: "store/durable", libraries: []string{xSys}},
	{pkg: "store/boltpage", uses: []string{"store/durable"}, libraries: []string{bbolt}, tests: []string{"store/internal/storetest"}},
	{pkg: "store/masterkey", uses: []string{"store/durable"}},
	{pkg: "store/event", uses: []string{"agent/scan"}},
	{
		pkg: "store/codec", uses: []string{"store/event", "store/durable", "agent/scan"},
		tests: []string{"store/internal/storetest"},
	},
	{
		pkg: "store/crypt", uses: []string{"store/event", "store/codec", "store/durable", "store/masterkey"},
		tests: []string{"store/internal/storetest", "agent/scan"},
	},
	{
		pkg: "store/quarantine", uses: []string{"store/codec", "store/crypt", "store/boltpage", "store/durable", "agent/scan"},
		libraries: []string{bbolt},
	},
	{pkg: "store/internal/storetest", uses: []string{"agent/scan"}},

	{pkg: "store/marks", uses: []string{"store/codec", "store/durable"}},
	{pkg: "store/register", uses: []string{"store/codec", "store/durable", "agent/scan"}, tests: []string{"store/internal/storetest"}},
	{
		pkg:       "store/format", // of a segment's file
		uses:      []string{"store/event", "store/codec", "store/crypt", "store/boltpage", "store/durable", "agent/scan"},
		libraries: []string{bbolt},
	},

	{
		pkg:  "store/checkpoint",
		uses: []string{"store/format", "store/event", "store/codec", "store/crypt", "store/boltpage", "store/durable"},
	},

	// The outbox's parts. The index knows no file: it declares how it reads one.
	{
		pkg:       "store/repair",
		uses:      []string{"store/format", "store/register", "store/quarantine", "store/codec", "store/crypt", "store/boltpage", "store/durable"},
		libraries: []string{bbolt}, tests: []string{"store/internal/storetest", "store/event"},
	},
	{
		pkg:       "store/handle",
		uses:      []string{"store/event", "store/boltpage", "store/durable"},
		libraries: []string{bbolt},
	},
	{pkg: "store/later", uses: []string{"store/event", "store/codec", "agent/scan"}},
	{
		pkg: "store/journal",
		uses: []string{
			"store/format", "store/register", "store/repair", "store/handle", "store/marks", "store/checkpoint", "store/later",
			"store/event", "store/codec", "store/crypt", "store/boltpage", "store/durable", "agent/scan",
		},
		libraries: []string{bbolt}, tests: []string{"store/internal/storetest"},
	},
	{pkg: "store/index", uses: []string{"store/event", "store/codec", "agent/scan", "configs/wait"}, tests: []string{"store/internal/storetest"}},

	{
		pkg: "store",
		uses: []string{
			"store/journal", "store/index", "store/repair", "store/format", "store/quarantine", "store/later",
			"store/event", "store/codec", "store/crypt", "store/boltpage", "store/durable", "agent/scan", "configs/wait",
		},
		libraries: []string{bbolt},
		tests:     []string{"store/internal/storetest", "store/register", xSys},
	},
	// The centre's state: contract, judging, and a store for one process.
	{pkg: "store/snapshot", uses: []string{"agent/scan"}},
	{
		pkg: "store/snapshot/judge", uses: []string{"store/snapshot", "agent/scan"},
		tests: []string{"store/snapshot/snapshottest"},
	},
	{pkg: "store/snapshot/queue", uses: []string{"store/snapshot", "store/snapshot/judge", "agent/scan"}},
	{pkg: "store/snapshot/datakey", uses: []string{"store/masterkey", "store/durable", "configs/secret"}},
	{
		pkg: "store/snapshot/values", uses: []string{"store/snapshot", "store/snapshot/datakey", "store/snapshot/judge", "store/durable", "agent/scan"},
		tests: []string{"store/masterkey"},
	},
	{ // what the files of bbolt are, page by page
		pkg:       "store/snapshot/boltfile",
		uses:      []string{"store/snapshot", "store/snapshot/judge", "store/snapshot/datakey", "store/snapshot/values", "store/snapshot/archive", "store/boltpage", "store/durable", "store/masterkey", "agent/scan", "configs/secret"},
		libraries: []string{bbolt},
	},
	{
		pkg:       "store/snapshot/bolt",
		uses:      []string{"store/snapshot", "store/snapshot/judge", "store/snapshot/queue", "store/snapshot/datakey", "store/snapshot/values", "store/snapshot/archive", "store/snapshot/boltfile", "store/boltpage", "store/durable", "agent/scan", "configs/secret", "configs/wait"},
		libraries: []string{bbolt}, tests: []string{"store/snapshot/snapshottest", "store/masterkey"},
	},
	{ // knows how the files of a copy are written, and nothing of what they hold
		pkg: "store/snapshot/archive", uses: []string{"store/boltpage", "store/durable"}, libraries: []string{bbolt},
	},
	{pkg: "store/snapshot/snapshottest", uses: []string{"store/snapshot", "agent/scan"}},
	{
		pkg:       "store/snapshot/postgres",
		uses:      []string{"store/snapshot", "store/snapshot/judge", "store/snapshot/queue", "store/snapshot/datakey", "store/snapshot/values", "store/masterkey", "agent/scan", "configs/secret", "configs/wait"},
		libraries: []string{pgx}, tests: []string{"store/snapshot/snapshottest", "store/snapshot/postgres/pgtest"},
	},
	{pkg: "store/snapshot/postgres/pgtest"}, // knows PostgreSQL, and nothing of the program

	// Bytes to reads. x/text is for devices that send GBK.
	{pkg: "agent/intake/topic"},
	{pkg: "agent/intake/user", uses: []string{"agent/intake/topic", "configs/secret"}},
	{pkg: "agent/intake/packet"},
	{pkg: "agent/intake/decode", libraries: []string{xText}},
	{pkg: "agent/intake/sparkplug", uses: []string{"agent/intake/decode", "configs/wait"}},
	{
		pkg:   "agent/intake/mapping",
		uses:  []string{"agent/scan", "agent/intake/topic", "agent/intake/decode", "agent/intake/sparkplug", "configs/nearest"},
		tests: []string{yaml},
	},
	{pkg: "agent/intake", uses: []string{"agent/scan", "agent/intake/mapping", "configs/wait"}, tests: []string{intaketest}},
	{pkg: "agent/intake/link", uses: []string{"configs/secret", "configs/tlsfile"}, libraries: []string{paho, xSys}, tests: []string{intaketest}},
	{
		pkg:       "agent/intake/source",
		uses:      []string{"agent/intake", "agent/intake/link", "agent/intake/topic", "agent/intake/mapping", "agent/intake/sparkplug", "agent/scan", "store/durable", "configs/wait"},
		libraries: []string{paho}, tests: []string{intaketest, "configs/tlsfile", "configs/tlsfile/tlstest", mochi},
	},
	{
		pkg:       "agent/intake/broker",
		uses:      []string{"agent/intake", "agent/intake/packet", "agent/intake/topic", "agent/intake/user", "agent/intake/sparkplug", "agent/scan", "store/durable", "store/event", "configs/wait", "configs/limit"},
		libraries: []string{gorilla, xTime}, tests: []string{intaketest, "agent/intake/mapping", "configs/tlsfile", "configs/tlsfile/tlstest", paho},
	},
	{
		pkg:       "agent/intake/probe",
		uses:      []string{"agent/intake", "agent/intake/link", "agent/intake/topic", "agent/intake/mapping", "configs/wait"},
		libraries: []string{paho}, tests: []string{intaketest, "agent/intake/source", mochi},
	},
	{pkg: intaketest, uses: []string{"agent/intake/mapping", "agent/intake/sparkplug", "agent/scan"}, libraries: []string{paho}},
	{pkg: "agent/control/door", uses: []string{"configs/limit", "configs/secret", "configs/serve", "configs/wait"}},
	{pkg: "agent/control/web"}, // what a browser is sent
	{pkg: "agent/control/lately", uses: []string{"agent/scan", "store"}},
	{
		pkg: "agent/control/mapdevice",
		uses: []string{
			"agent/intake", "agent/intake/mapping", "agent/intake/decode", "agent/intake/sparkplug", "agent/intake/topic", "agent/scan", "store",
			"configs", // which reads a mapping as a start does
			"configs/serve", "configs/wait",
		},
	},
	{
		pkg:       "agent/control",
		uses:      []string{"agent/control/door", "agent/control/lately", "agent/control/mapdevice", "agent/control/web", "store", "uplink/syncapi/health", "agent/scan", "configs", "configs/secret", "configs/serve"},
		libraries: []string{metrics},
	},

	{pkg: "uplink/syncapi/health"},
	{pkg: "uplink/syncapi/directive"},
	{pkg: "uplink/syncapi/order", uses: []string{"agent/scan", "configs/secret"}},
	{pkg: "uplink/syncapi", uses: []string{"uplink/syncapi/health", "uplink/syncapi/directive", "uplink/syncapi/order", "agent/scan", "configs/secret", "configs/tlsfile", "configs/wait"}, tests: []string{"configs/tlsfile/tlstest"}},
	{pkg: "uplink/wire", uses: []string{"wechat", "agent/scan"}},
	{pkg: "uplink/policy", uses: []string{"store/event", "wechat", "uplink/syncapi", "agent/scan", "configs/wait"}},
	{
		pkg: "uplink/valve", uses: []string{"wechat", "uplink/policy", "uplink/syncapi", "agent/scan", "configs/secret", "configs/wait"},
		libraries: []string{xTime}, tests: []string{"store/event"},
	},
	{pkg: "uplink/shared", uses: []string{"store/event", "uplink/policy", "uplink/syncapi", "agent/scan", "configs/wait"}, libraries: []string{metrics}},
	{ // knows nothing of WeChat; of the valve only what it declares itself
		pkg:       "uplink/sync",
		uses:      []string{"uplink/syncapi/health", "uplink/syncapi/directive", "store/event", "uplink/policy", "uplink/shared", "uplink/syncapi", "agent/scan", "configs/wait"},
		libraries: []string{metrics, backoff},
	},
	{
		pkg: "uplink/push",
		uses: []string{
			"store/event", "wechat", "uplink/policy", "uplink/shared", "uplink/valve", "uplink/syncapi", "uplink/wire", "agent/scan",
			"configs/secret", "configs/wait",
		},
		libraries: []string{metrics, xSync},
	},
	{
		pkg:       "uplink",
		uses:      []string{"uplink/syncapi/health", "store/event", "uplink/policy", "uplink/push", "uplink/shared", "uplink/sync", "uplink/syncapi", "uplink/valve", "agent/scan", "configs/wait"},
		libraries: []string{metrics, xSync},
		tests: []string{ // the relays against real ends
			"store", "wechat", "wechat/fake", "uplink/central", "uplink/syncapi", "store/snapshot", "store/snapshot/bolt", "configs/secret",
		},
	},
	// The centre: what its processes would share, who calls, and each call.
	{pkg: "uplink/central/documents", uses: []string{"store/durable"}, tests: []string{"uplink/central/identity", "uplink/central/internal/documents"}},
	{
		pkg:   "uplink/central/orders",
		uses:  []string{"uplink/central/audit", "uplink/central/caller", "uplink/central/documents", "uplink/syncapi/order", "store/durable", "agent/scan", "configs/serve", "configs/wait"},
		tests: []string{"uplink/central/internal/documents"},
	},
	{
		pkg: "uplink/central/updates",
		uses: []string{
			"uplink/central/caller", "uplink/central/documents", "uplink/syncapi/directive", "agent/update/release", "agent/update/trust", "agent/scan", "configs/serve", "configs/limit", "configs/wait",
		},
		tests: []string{"uplink/central/internal/documents", "configs/secret"},
	},
	{
		pkg: "uplink/central/settings",
		uses: []string{
			"uplink/central/audit", "uplink/central/caller", "uplink/central/documents", "uplink/syncapi/directive", "agent/scan", "configs/serve", "configs/limit", "store/durable", "configs/wait",
		},
		tests: []string{"uplink/central/identity", "uplink/central/internal/documents"},
	},
	{ // pure but for its documents
		pkg: "uplink/central/rollout",
		uses: []string{
			"uplink/central/audit", "uplink/central/caller", "uplink/central/documents", "uplink/syncapi/directive", "agent/update/trust", "agent/scan", "configs/serve", "configs/wait", "store/durable",
		},
		tests: []string{"uplink/central/internal/documents", "store/snapshot/postgres", "store/snapshot/postgres/pgtest", "configs/secret"},
	},
	{
		pkg:   "uplink/central/looks",
		uses:  []string{"uplink/central/documents", "uplink/syncapi/order", "store/durable", "agent/scan", "configs/limit", "configs/wait"},
		tests: []string{"uplink/central/internal/documents"},
	},
	{pkg: "uplink/central/audit", uses: []string{"agent/scan", "store/durable"}},
	{
		pkg: "uplink/central/identity",
		uses: []string{
			"uplink/syncapi/health", "uplink/syncapi/directive", "uplink/central/caller", "uplink/central/audit", "uplink/central/documents", "uplink/central/orders", "uplink/syncapi", "store/durable", "agent/scan", "configs/secret", "configs/serve", "configs/wait",
		},
		libraries: []string{metrics}, tests: []string{"uplink/central/internal/documents"},
	},
	{ // of the store of one process: only that one is copied here
		pkg: "uplink/central/backup",
		uses: []string{
			"uplink/central/audit", "uplink/central/identity", "uplink/central/rollout", "store/snapshot/archive", "store/snapshot/bolt", "store/snapshot/boltfile", "store/durable",
			"configs/secret", "configs/serve", "configs/wait",
		},
		libraries: []string{metrics}, tests: []string{"uplink/central/documents", "store/snapshot", "store/snapshot/datakey", "agent/scan"},
	},
	{
		pkg: "uplink/central/caller", uses: []string{"agent/scan", "configs/limit", "configs/secret", "configs/serve", "configs/wait"},
		libraries: []string{metrics},
	},
	{
		pkg: "uplink/central/tokens", uses: []string{"uplink/central/documents", "uplink/syncapi", "wechat", "agent/scan", "configs/wait", "configs/secret"},
		libraries: []string{metrics}, tests: []string{"uplink/central/internal/account", "uplink/central/internal/documents"},
	},
	{
		pkg:       "uplink/central/quota",
		uses:      []string{"uplink/syncapi", "wechat", "configs/secret", "configs/wait"},
		libraries: []string{metrics},
		tests:     []string{"uplink/central/internal/account", "uplink/central/shares", "uplink/central/tokens", "wechat/fake"},
	},
	{pkg: "uplink/central/shares", uses: []string{"uplink/central/documents", "agent/scan", "configs/wait"}, tests: []string{"uplink/central/internal/documents"}},
	{pkg: "uplink/central/waiting", uses: []string{"store/snapshot", "agent/scan", "configs/wait"}},
	{pkg: "uplink/central/presence", uses: []string{"uplink/central/documents", "uplink/syncapi", "uplink/syncapi/directive", "uplink/syncapi/health", "agent/scan", "configs/wait"}},
	{
		pkg: "uplink/central/fleet", uses: []string{"uplink/central/presence", "uplink/syncapi/health", "store/snapshot", "agent/scan"},
	},
	{
		pkg:       "uplink/central/lookup",
		uses:      []string{"uplink/central/caller", "uplink/wire", "store/snapshot", "wechat/callback", "agent/scan", "configs/limit", "configs/wait"},
		libraries: []string{metrics},
		tests:     []string{"uplink/central", "uplink/central/internal/centraltest", "uplink/syncapi", "configs/secret"},
	},
	{
		pkg:       "uplink/central/waybills",
		uses:      []string{"uplink/central/looks", "uplink/syncapi", "store/snapshot", "agent/scan", "configs/serve", "configs/textfile"},
		libraries: []string{metrics},
		tests:     []string{"uplink/central/internal/centraltest"},
	},
	{
		pkg: "uplink/central/page",
		uses: []string{
			"uplink/central/audit", "uplink/central/waybills", "configs/wait", "uplink/central/caller", "uplink/central/fleet", "uplink/central/quota", "uplink/central/rollout", "uplink/central/waiting", "uplink/syncapi", "store/snapshot",
			"agent/scan", "configs/secret",
		},
		tests: []string{"uplink/central", "uplink/central/documents", "uplink/central/identity", "uplink/central/internal/centraltest", "uplink/syncapi/directive", "uplink/syncapi/health"},
	},
	{
		pkg: "uplink/central",
		uses: []string{
			"uplink/central/caller", "uplink/central/tokens", "uplink/central/quota", "uplink/central/shares",
			"uplink/central/audit", "uplink/central/backup", "uplink/central/identity", "uplink/central/waiting", "uplink/central/presence", "uplink/central/lookup", "uplink/central/waybills", "uplink/central/page", "uplink/central/fleet", "uplink/central/documents", "uplink/central/looks", "uplink/central/orders", "uplink/syncapi/order", "uplink/central/updates", "uplink/central/rollout", "uplink/central/settings", "uplink/syncapi/directive",
			"store/snapshot", "store/durable", "wechat/callback", "uplink/syncapi", "agent/scan", "configs/secret", "configs/limit", "configs/exposition", "configs/serve", "configs/wait",
		},
		libraries: []string{metrics},
		tests: []string{
			"uplink/syncapi/health",
			"agent/update/release", "uplink/central/internal/account", "uplink/central/internal/centraltest", "uplink/central/internal/documents", "store/snapshot/bolt", "wechat", "wechat/fake",
			"store/snapshot/postgres", "store/snapshot/postgres/pgtest",
		},
	},
	{pkg: "uplink/central/internal/documents"},
	{pkg: "uplink/central/internal/account", uses: []string{"wechat", "configs/secret"}},
	{
		pkg: "uplink/central/internal/centraltest",
		uses: []string{
			"uplink/central", "uplink/central/internal/account", "uplink/syncapi", "store/snapshot", "store/snapshot/bolt", "wechat/callback", "agent/scan", "configs/secret",
		},
	},

	{
		pkg: "agent/update/release", uses: []string{"agent/update/trust", "configs/secret", "configs/textfile", "store/durable"},
		libraries: []string{goTUF, secureKeys, compress},
	},
	{pkg: "agent/cmd/release", uses: []string{"agent/cmd/cli", "agent/update/release", "agent/update/trust", "configs/secret", "configs/textfile", "store/durable"}},
	{pkg: "agent/update/trust", uses: []string{"configs/wait", "store/durable"}, libraries: []string{compress}, tests: []string{goTUF}},
	{
		pkg: "agent/identity", uses: []string{"agent/scan", "store/durable", "uplink/syncapi", "configs/secret", "configs/wait"},
		tests: []string{"uplink/central/caller", "uplink/central/identity", metrics}, // its other side
	},
	// Versions of the agent: what is written down, what starts, root's part.
	{pkg: "agent/quiet", uses: []string{"store/durable"}},
	{pkg: "agent/update/record", uses: []string{"store/durable"}},
	{pkg: "agent/update/launch", uses: []string{"agent/update/record", "store/durable"}, libraries: []string{xSys}},
	{pkg: "agent/update/install", uses: []string{"agent/update/record", "agent/update/launch", "store/durable"}, libraries: []string{xSys}},
	{pkg: "agent/remote", uses: []string{"configs/wait", "store/durable", "uplink/syncapi/directive"}},
	{
		pkg: "agent/update/follow",
		uses: []string{
			"agent/update/install", "agent/update/launch", "agent/update/record", "agent/update/trust",
			"configs/textfile", "configs/wait", "store/durable", "uplink/syncapi/directive",
		},
		libraries: []string{backoff}, tests: []string{"agent/update/release", "agent/update/trial"},
	},
	{pkg: "agent/update/trial", uses: []string{"agent/update/record", "agent/update/launch"}, tests: []string{"agent/update/install"}},
	{
		pkg: "agent",
		uses: []string{
			"agent/remote", "agent/update/follow", "agent/update/launch", "agent/update/record", "agent/update/trial", "agent/update/trust",
			"agent/scan", "agent/clock", "agent/identity", "agent/quiet", "agent/control", "agent/control/lately", "agent/control/mapdevice", "store", "store/durable",
			"agent/intake", "agent/intake/broker", "agent/intake/source", "agent/intake/link", "agent/intake/mapping", "agent/intake/user", "agent/intake/sparkplug",
			"uplink", "uplink/syncapi", "uplink/syncapi/directive", "uplink/syncapi/order", "uplink/syncapi/health", "wechat", "configs", "configs/exposition", "configs/limit", "configs/serve", "configs/wait",
		},
		libraries: []string{metrics},
		tests:     []string{paho}, // devices that publish
	},
	{
		pkg: "agent/demo",
		uses: []string{
			"agent", "agent/control", "agent/intake/link", "agent/scan", "agent/update/release", "uplink/central", "uplink/central/audit", "uplink/central/caller",
			"uplink/central/identity", "uplink/central/rollout", "uplink/syncapi", "uplink/syncapi/directive", "uplink/syncapi/health", "store", "store/snapshot/bolt",
			"wechat", "wechat/fake", "configs", "configs/secret", "configs/serve", "configs/wait",
		},
		libraries: []string{paho, xSync}, tests: []string{browser},
	},
	{pkg: "agent/cmd/cli", uses: []string{"configs/nearest"}, libraries: []string{pflag, xTerm}},
	{pkg: "agent/cmd/chinese", uses: []string{"agent/cmd/cli", "configs"}},
	{
		pkg:  "agent/cmd/look",
		uses: []string{"agent/cmd/chinese", "agent/cmd/cli", "agent/control", "agent/scan", "configs", "configs/wait", "store", "uplink/syncapi/health"},
	},
	{pkg: "agent/cmd/saved"},
	{
		pkg: "agent/cmd/setup", // tries what was answered as the agent will use it
		uses: []string{
			"agent", "agent/cmd/chinese", "agent/cmd/cli", "agent/intake/mapping", "agent/intake/probe", "agent/scan", "configs", "store/durable", "uplink/syncapi",
		},
	},
	{
		pkg:  "agent/cmd/bundle",
		uses: []string{"agent/cmd/cli", "agent/cmd/doctor", "agent/control", "configs", "store"},
	},
	{
		pkg: "agent/cmd/doctor", // looks as the agent will
		uses: []string{
			"agent", "agent/cmd/chinese", "agent/cmd/cli", "agent/clock", "agent/control", "agent/intake/link", "agent/update/follow", "agent/update/record", "configs", "configs/tlsfile", "store/durable", "uplink/syncapi",
		},
		libraries: []string{xSys}, tests: []string{"store"},
	},
	{
		pkg: "agent/cmd/update",
		uses: []string{
			"agent/cmd/cli", "agent/clock", "agent/update/follow", "agent/update/install", "agent/update/launch", "agent/update/record", "agent/update/trust",
			"configs/serve", "configs/textfile", "store/durable",
		},
		libraries: []string{pflag}, tests: []string{"agent/update/release"}, // who publishes what is checked
	},
	{
		pkg: "agent/cmd/scanrelay", uses: []string{all}, libraries: []string{metrics},
		tests: []string{script, paho},
	},

	// Not part of the program.
	{pkg: "build/layout"},
	{pkg: "build/size"},
	{pkg: "build/monitoring", tests: []string{"configs/exposition"}},
	{pkg: "build/rig", uses: []string{"wechat/fake"}, libraries: []string{paho, xSys, xTime}}, // knows the program from outside
	// A gateway's versions are put there as root's part does, which nothing outside can.
	{pkg: "build/e2e", tests: []string{"agent/update/record", "build/rig", "wechat/fake", "store/snapshot/postgres/pgtest", browser, paho, pahoV5, xSys}},
	{
		pkg:       "build/bench",
		uses:      []string{"build/rig", "store", "store/snapshot", "store/snapshot/bolt", "wechat/callback", "wechat/fake", "agent/scan"},
		libraries: []string{paho, bbolt},
	},
}

func TestArrows(t *testing.T) {
	files := readTree(t)
	for _, pkg := range packages(files) {
		i := slices.IndexFunc(arrows, func(r row) bool { return r.pkg == pkg })
		if i < 0 {
			t.Errorf("package %s is in no row of the import graph: add it to arrows, or put the code where it belongs", pkg)
			continue
		}
		for _, f := range files {
			if f.pkg == pkg {
				checkImports(t, arrows[i], f)
			}
		}
	}
}

func checkImports(t *testing.T, r row, f file) {
	t.Helper()
	for _, name := range f.imports {
		if name == r.pkg && f.test {
			continue // an external test of the package itself
		}
		switch {
		case internal(name) && !allowed(r.uses, name) && !(f.test && allowed(r.tests, name)):
			t.Errorf("%s imports %s: package %s may use only %v", f.path, name, r.pkg, r.uses)
		case internal(name) && strings.HasPrefix(name, "build/") && !strings.HasPrefix(r.pkg, "build/"):
			t.Errorf("%s imports %s: the program must not need what builds and checks it", f.path, name)
		case external(name) && !allowed(r.libraries, name) && !(f.test && allowed(r.tests, name)):
			t.Errorf("%s imports %s: package %s may use only the libraries %v", f.path, name, r.pkg, r.libraries)
		}
	}
}

// allowed reports whether name is one of list, or, for a library, within one.
func allowed(list []string, name string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		return entry == all || entry == name || external(entry) && strings.HasPrefix(name, entry+"/")
	})
}

// TestNoStaleRows keeps the table from speaking of packages that are gone, and from
// allowing what nobody does any more.
func TestNoStaleRows(t *testing.T) {
	files := readTree(t)
	have := packages(files)
	for _, r := range arrows {
		if !slices.Contains(have, r.pkg) {
			t.Errorf("the import graph has a row for %s, which is not in the tree", r.pkg)
			continue
		}
		var code, tests []string
		for _, f := range files {
			switch {
			case f.pkg != r.pkg:
			case f.test:
				tests = append(tests, f.imports...)
			default:
				code = append(code, f.imports...)
			}
		}
		checkUsed(t, r.pkg, slices.Concat(r.uses, r.libraries), code)
		checkUsed(t, r.pkg+"'s tests", r.tests, tests)
	}
}

// checkUsed holds that each entry of a row stands for an import.
func checkUsed(t *testing.T, who string, entries, imports []string) {
	t.Helper()
	for _, entry := range entries {
		if entry != all && !slices.ContainsFunc(imports, func(name string) bool { return allowed([]string{entry}, name) }) {
			t.Errorf("%s may import %s and does not: take it out of the import graph", who, entry)
		}
	}
}

// TestGatewayBuild follows the imports of the gateway build and finds nothing
// of the centre, the demo or PostgreSQL in it: it must stay small.
func TestGatewayBuild(t *testing.T) {
	files := readTree(t)
	linked := linkedBy(files, "agent/cmd/scanrelay", func(tag string) bool {
		return tag == "gateway" || tag == "linux" || tag == "arm" || tag == "unix"
	})
	for _, name := range []string{"agent", "store", "agent/intake", "uplink"} {
		if !slices.Contains(linked, name) {
			t.Errorf("the gateway build does not link %s: was the way to it followed?", name)
		}
	}
	for _, name := range linked {
		for _, banned := range []string{
			"uplink/central", "store/snapshot", "wechat/callback", "wechat/fake", "agent/demo", "build",
			"github.com/jackc/pgx", "agent/update/release", goTUF,
		} {
			if name == banned || strings.HasPrefix(name, banned+"/") {
				t.Errorf("the gateway build links %s", name)
			}
		}
	}
}

// linkedBy returns what pkg imports, directly or not, where tag says which
// build tags hold.
func linkedBy(files []file, pkg string, tag func(string) bool) []string {
	seen := []string{pkg}
	for i := 0; i < len(seen); i++ {
		for _, f := range files {
			if f.pkg != seen[i] || f.test || !holds(f.when, tag) {
				continue
			}
			for _, name := range f.imports {
				if !slices.Contains(seen, name) {
					seen = append(seen, name)
				}
			}
		}
	}
	return seen
}

func holds(when constraint.Expr, tag func(string) bool) bool { return when == nil || when.Eval(tag) }
