package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/stowage/stowage/reconcile"
)

// MaxInput bounds a saved input, in bytes of JSON: some ten times what 10,000 nodes with 100,000 allocations need.
const MaxInput = 1 << 30

var errCut = errors.New("it is damaged: save it again with stowage plan --save FILE")

// WriteInput writes a saved input: JSON, compressed by gzip.
func WriteInput(w io.Writer, s *reconcile.Saved) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(s); err != nil {
		return fmt.Errorf("encode input: %w", err)
	}
	return z.Close()
}

// ReadInput reads a saved input, compressed or not.
func ReadInput(r io.Reader) (*reconcile.Saved, error) {
	return readInput(r, MaxInput)
}

func readInput(r io.Reader, most int64) (*reconcile.Saved, error) {
	b := bufio.NewReader(r)
	var plain io.Reader = b
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, errCut
		}
		plain = z
	}
	limited := &io.LimitedReader{R: plain, N: most + 1}
	s := new(reconcile.Saved)
	err := json.NewDecoder(limited).Decode(s)
	if err == nil {
		_, err = io.Copy(io.Discard, limited) // to its checksum
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("it is larger than %d MiB, which no saved input is", most>>20)
	}
	var form *json.UnmarshalTypeError
	switch {
	case errors.As(err, &form), err == nil:
		// A file of another kind, or of a newer form, says so better than its fields do.
		if problem := s.Check(); problem != nil {
			return nil, problem
		}
		if err != nil {
			return nil, errCut
		}
		return s, nil
	}
	return nil, errCut
}
