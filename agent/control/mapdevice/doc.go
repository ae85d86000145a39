// Package mapdevice is how a device is mapped on the depot page: what arrives, taken
// apart by the decoders that intake uses; what a mapping would make of it; and the
// mapping's way into data_dir.
//
// The page builds the mapping's YAML, and package mapping alone says whether it is right.
// Messages are kept only while somebody looks, bounded in number and bytes, and shown
// masked; the words of one place can be shown as they are, since those of an action go into
// the mapping. Trying changes nothing. Saving changes all or nothing (Files).
package mapdevice
