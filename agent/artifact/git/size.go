package git

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// MaxFile bounds one file, in bytes. The library holds each object of a pack in memory, and with it, where one is told as a difference, what it differs
// from: a few times this much altogether.
const MaxFile = 64 << 20

// errLarge refuses an object.
var errLarge = errors.New("of one file of a repository at most 64 MiB are taken: offer it as an archive (source = …)")

// measure refuses a pack with an object that is too large, before any is held in memory. Objects that are told as differences say at their
// beginning how large they are, and what they differ from (gitformat-pack, "deltified representation").
func measure(pack *os.File) error {
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s := packfile.NewScanner(pack)
	_, count, err := s.Header()
	if err != nil {
		return err
	}
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return err
		}
		if err := allow(uint64(h.Length)); err != nil {
			return err
		}
		if !h.Type.IsDelta() {
			continue // the scanner passes over it
		}
		var sizes beginning
		if _, _, err := s.NextObject(&sizes); err != nil {
			return err
		}
		base, n := binary.Uvarint(sizes)
		if n <= 0 {
			return errors.New("a difference does not say of what")
		}
		result, n := binary.Uvarint(sizes[n:])
		if n <= 0 {
			return errors.New("a difference does not say how large its result is")
		}
		if err := errors.Join(allow(base), allow(result)); err != nil {
			return err
		}
	}
	return nil
}

func allow(size uint64) error {
	if size > MaxFile {
		return fmt.Errorf("it has a file of %d MiB, and %w", size>>20, errLarge)
	}
	return nil
}

// beginning keeps as much of what is written to it as two sizes have.
type beginning []byte

// Write keeps of p what there is room for.
func (b *beginning) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 2*binary.MaxVarintLen64-len(*b))]...)
	return len(p), nil
}
