package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
)

// The vote file has two slots that are written in turn, each with a counter and a checksum: one is always whole. Its
// blocks are written once when it is made and overwritten ever after, so that an election needs no free space (the raft
// library cannot go on when it cannot save its term).
const (
	voteSlot   = 4096
	voteHeader = 16 // counter 8, length 4, checksum 4
)

var voteTable = crc32.MakeTable(crc32.Castagnoli)

// vote keeps the few values that raft wants kept: the term, and whom this member voted for in it.
type vote struct {
	mu      sync.Mutex
	file    *os.File
	counter uint64
	values  map[string][]byte
}

func openVote(dir string) (*vote, error) {
	path := filepath.Join(dir, "vote")
	if _, err := os.Stat(path); os.IsNotExist(err) {
		if err := writeFile(path, make([]byte, 2*voteSlot)); err != nil {
			return nil, fmt.Errorf("create vote file: %w", diskError(err))
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open vote file: %w", err)
	}
	v := &vote{file: f, values: map[string][]byte{}}
	if err := v.load(); err != nil {
		f.Close()
		return nil, err
	}
	return v, nil
}

// load takes the newer of the slots that are whole. Both empty is a new file; both broken is damage, since a write
// touches one of them only.
func (v *vote) load() error {
	buf := make([]byte, 2*voteSlot)
	if _, err := v.file.ReadAt(buf, 0); err != nil {
		return fmt.Errorf("read vote file: %w", err)
	}
	broken := 0
	for i := range 2 {
		slot := buf[i*voteSlot : (i+1)*voteSlot]
		counter := binary.LittleEndian.Uint64(slot)
		n := binary.LittleEndian.Uint32(slot[8:])
		if counter == 0 && n == 0 {
			continue
		}
		if n > voteSlot-voteHeader || checksum(slot[:12], slot[voteHeader:voteHeader+n]) != binary.LittleEndian.Uint32(slot[12:]) {
			broken++
			continue
		}
		values := map[string][]byte{}
		if err := json.Unmarshal(slot[voteHeader:voteHeader+n], &values); err != nil {
			broken++
			continue
		}
		if counter > v.counter {
			v.counter, v.values = counter, values
		}
	}
	if broken == 2 {
		return fmt.Errorf("%w: both copies in the vote file fail their checksums; with several members, remove this one's directory and let it join anew", ErrDamaged)
	}
	return nil
}

func checksum(parts ...[]byte) uint32 {
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, voteTable, p)
	}
	return sum
}

// Set keeps val under key and returns when it is on disk.
func (v *vote) Set(key, val []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old, had := v.values[string(key)]
	v.values[string(key)] = append([]byte(nil), val...)
	if err := v.save(); err != nil {
		if delete(v.values, string(key)); had {
			v.values[string(key)] = old
		}
		return fmt.Errorf("write vote file: %w", diskError(err))
	}
	return nil
}

func (v *vote) save() error {
	body, err := json.Marshal(v.values)
	if err != nil {
		return err
	}
	if len(body) > voteSlot-voteHeader {
		return fmt.Errorf("%d bytes do not fit a slot", len(body))
	}
	next := v.counter + 1
	slot := make([]byte, voteHeader+len(body))
	binary.LittleEndian.PutUint64(slot, next)
	binary.LittleEndian.PutUint32(slot[8:], uint32(len(body)))
	copy(slot[voteHeader:], body)
	binary.LittleEndian.PutUint32(slot[12:], checksum(slot[:12], body))
	if _, err := v.file.WriteAt(slot, int64(next%2)*voteSlot); err != nil {
		return err
	}
	if err := v.file.Sync(); err != nil {
		return err
	}
	v.counter = next
	return nil
}

// Get returns the value of key, nil where there is none.
func (v *vote) Get(key []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.values[string(key)], nil
}

// SetUint64 is Set for a number.
func (v *vote) SetUint64(key []byte, val uint64) error {
	return v.Set(key, binary.LittleEndian.AppendUint64(nil, val))
}

// GetUint64 is Get for a number, 0 where there is none.
func (v *vote) GetUint64(key []byte) (uint64, error) {
	b, _ := v.Get(key)
	if len(b) == 0 {
		return 0, nil
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: %s in the vote file is no number", ErrDamaged, key)
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (v *vote) close() error { return v.file.Close() }
