package journal

import (
	"encoding/binary"
	"fmt"
)

// entryVersion is the version of the envelope around the entries of one Append. A reader accepts this and every lower one.
const entryVersion = 1

// MaxAppend is the limit in bytes on the entries of one Append: what is larger would hold up heartbeats on the links
// between members and needs a different design (a reference to a blob) anyway.
const MaxAppend = 16 << 20

// seal packs entries into one record: version, then each entry with its length before it. One record is one unit of
// the log, which is what makes an Append atomic.
func seal(entries [][]byte) ([]byte, error) {
	size := 1
	for _, e := range entries {
		size += binary.MaxVarintLen32 + len(e)
	}
	if size > MaxAppend {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, MaxAppend)
	}
	b := make([]byte, 1, size)
	b[0] = entryVersion
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(len(e)))
		b = append(b, e...)
	}
	return b, nil
}

// unseal calls f with each entry of a record, in order, until one fails.
func unseal(record []byte, f func(entry []byte) error) error {
	if len(record) == 0 {
		return fmt.Errorf("%w: empty record", ErrDamaged)
	}
	if v := record[0]; v > entryVersion {
		return fmt.Errorf("%w (entry of version %d, this program knows %d)", ErrNewer, v, entryVersion)
	}
	for b := record[1:]; len(b) > 0; {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return fmt.Errorf("%w: entry cut short", ErrDamaged)
		}
		if err := f(b[w : w+int(n) : w+int(n)]); err != nil {
			return err
		}
		b = b[w+int(n):]
	}
	return nil
}
