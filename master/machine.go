package master

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"

	"github.com/stowage/stowage/master/journal"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

const (
	// compressAbove is the size in bytes above which an entry is compressed: plans and decisions of large commits shrink
	// to a tenth, and the journal's limit on one append is far away.
	compressAbove = 32 << 10
	// maxEntry bounds what an entry may grow to when it is read, in bytes.
	maxEntry = 2 << 30
)

// machine is the state that the journal's entries build: what a new core starts from.
type machine struct {
	mu    sync.Mutex
	state *control.State
	// coming are entries that this master is appending: what comes back through the journal byte by byte equal need not
	// be decoded, and shares its memory with the core's.
	coming []pendingEntry
}

type pendingEntry struct {
	encoded []byte
	entry   control.Entry
}

func newMachine() *machine { return &machine{state: control.NewState()} }

// encodeEntry returns the entry as it goes into the journal: JSON, or compressed JSON.
func encodeEntry(e control.Entry) ([]byte, error) {
	plain, err := e.Encode()
	if err != nil || len(plain) < compressAbove {
		return plain, err
	}
	return compress(plain)
}

func compress(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func expandBytes(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != 0x1f || b[1] != 0x8b {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxEntry))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return plain, nil
}

// expect announces entries that are about to be appended by this master.
func (m *machine) expect(list []pendingEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.coming = list
}

// Apply takes one entry in. An empty one says nothing: it asks whether the journal can be written.
func (m *machine) Apply(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.coming) > 0 && bytes.Equal(m.coming[0].encoded, b) {
		m.state.Apply(m.coming[0].entry)
		m.coming = m.coming[1:]
		return nil
	}
	plain, err := expandBytes(b)
	if err != nil {
		return err
	}
	e, err := control.DecodeEntry(plain)
	if err != nil {
		// A member that skips an entry is no longer equal to the others: it must stop.
		return fmt.Errorf("%w (%w)", journal.ErrNewer, err)
	}
	m.state.Apply(e)
	return nil
}

// Snapshot captures the state; encoding it goes on beside later entries.
func (m *machine) Snapshot() (io.WriterTo, error) {
	return snapshotOf{m.clone()}, nil
}

type snapshotOf struct{ state *control.State }

// WriteTo writes the state, compressed.
func (s snapshotOf) WriteTo(w io.Writer) (int64, error) {
	plain, err := s.state.Encode()
	if err != nil {
		return 0, err
	}
	b, err := compress(plain)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	return int64(n), err
}

// Restore replaces the state.
func (m *machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		b, err = expandBytes(b)
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	state, err := control.DecodeState(b)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.coming = state, nil
	return nil
}

// clone returns a state for a new core.
func (m *machine) clone() *control.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Clone()
}

// following returns the commit that is followed; "" before the first.
func (m *machine) following() spec.Commit {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Following == nil {
		return ""
	}
	return m.state.Following.Revision.Commit
}

// joined reports whether a node has joined and was not removed.
func (m *machine) joined(node spec.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Nodes[node] != nil
}
