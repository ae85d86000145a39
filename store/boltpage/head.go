package boltpage

import (
	"hash/crc32"
	"io"
)

// Head is what bbolt believes unseen of a file: its newest meta page, and the list
// of free pages. It changes with each transaction that writes, and only then.
type Head struct {
	Tx   uint64
	meta string
	list uint32 // sum of the list of free pages
}

// HeadOf reads a file's head. It is damaged where bbolt would find no good meta
// page when it begins a transaction, or fault: it would die of that, and hold its
// locks for good.
func HeadOf(f io.ReaderAt) (Head, error) {
	m, err := newestMeta(f)
	if err != nil {
		return Head{}, err
	}
	h := Head{Tx: metaTx(m), meta: string(m)}
	if id := order.Uint64(m[32:]); id != noFreelist {
		list, err := readPage(f, id, maxPage/PageSize, nil)
		if err != nil {
			return Head{}, damage("list of free pages: page %d %v", id, err)
		}
		h.list = crc32.ChecksumIEEE(list)
	}
	return h, nil
}

// NewestTx returns the number of the last transaction that a file shows; its error
// is that of [HeadOf].
func NewestTx(f io.ReaderAt) (uint64, error) {
	m, err := newestMeta(f)
	if err != nil {
		return 0, err
	}
	return metaTx(m), nil
}

func newestMeta(f io.ReaderAt) (newest []byte, err error) {
	for id := range uint64(2) {
		b := make([]byte, metaPageSize)
		if _, err := f.ReadAt(b, int64(id)*PageSize); err != nil {
			return nil, damage("meta page %d cannot be read: %v", id, err)
		}
		if m := b[metaOffset:]; metaValid(m, id) && (newest == nil || metaTx(m) > metaTx(newest)) {
			newest = m
		}
	}
	if newest == nil {
		return nil, damage("both meta pages are")
	}
	return newest, nil
}
