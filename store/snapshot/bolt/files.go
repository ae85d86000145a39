package bolt

import "scanrelay/store/snapshot/boltfile"

const (
	format       = boltfile.Format
	logName      = boltfile.LogName
	waybillsName = boltfile.WaybillsName
	lockName     = boltfile.LockName
)

var (
	bucketMeta     = boltfile.Meta
	bucketLog      = boltfile.Log
	bucketWaybills = boltfile.Waybills
	bucketNumbers  = boltfile.Numbers
	bucketAnswers  = boltfile.Answers
	bucketDepots   = boltfile.Depots
	bucketBindings = boltfile.Bindings
	bucketDamaged  = boltfile.Damaged
	bucketHoles    = boltfile.Holes
	bucketAging    = boltfile.Aging
	bucketKeys     = boltfile.Keys

	metaFormat    = boltfile.MetaFormat
	metaStoreID   = boltfile.MetaStoreID
	metaMerged    = boltfile.MetaMerged
	metaTruncated = boltfile.MetaTruncated
	metaEncrypted = boltfile.MetaEncrypted
	metaRestored  = boltfile.MetaRestored
	metaCount     = []byte("count")
	metaHorizon   = []byte("horizon")
	metaAgain     = []byte("again")
	metaIndexed   = []byte("indexed")
)
