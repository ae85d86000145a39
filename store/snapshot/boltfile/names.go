package boltfile

// Format is the version of both files; 4 is the first that has in clear nothing that is
// personal.
const (
	Format    = 4
	encrypted = 4
)

// Names of the files.
const (
	LogName      = "log.db"
	WaybillsName = "waybills.db"
	LockName     = "lock" // held by whoever uses a folder
)

// Buckets.
var (
	Meta     = []byte("meta")
	Log      = []byte("log")
	Waybills = []byte("waybills")
	Numbers  = []byte("numbers")
	Answers  = []byte("answers") // of formats before 3
	Depots   = []byte("depots")
	Bindings = []byte("bindings")
	Damaged  = []byte("damaged") // what is set aside for want of its data key; of 7b28d06: what could not be read
	Holes    = []byte("holes")
	Aging    = []byte("aging")
	Keys     = []byte("keys")
)

// Fields of meta.
var (
	MetaFormat    = []byte("format")
	MetaStoreID   = []byte("store_id")
	MetaPhoneKey  = []byte("phone_key") // of formats before 4
	MetaMerged    = []byte("merged")
	MetaTruncated = []byte("truncated")
	MetaSum       = []byte("sum")
	MetaStates    = []byte("states")    // what the sums of all waybills come to
	MetaClear     = []byte("clear")     // all before it is encrypted
	MetaEncrypted = []byte("encrypted") // all is, and nothing in clear is left
)

// Buckets are those of a file, besides meta.
func Buckets(name string) [][]byte {
	if name == LogName {
		return [][]byte{Log, Keys}
	}
	return [][]byte{Waybills, Numbers, Depots, Bindings, Holes, Aging, Keys, Damaged}
}
