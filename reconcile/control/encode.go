package control

import (
	"encoding/json"
	"fmt"
)

// Encode returns the entry as it stands in the journal.
func (e Entry) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode journal entry: %w", err)
	}
	return b, nil
}

// DecodeEntry reads what Entry.Encode wrote. Entries of a newer format are refused.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("decode journal entry: %w", err)
	}
	if err := checkVersion(e.FormatVersion); err != nil {
		return Entry{}, fmt.Errorf("decode journal entry: %w", err)
	}
	if e.empty() {
		return Entry{}, fmt.Errorf("decode journal entry: it says nothing that this program knows; start a newer stowage")
	}
	return e, nil
}

func (e *Entry) empty() bool {
	return e.Pending == nil && e.Dropped == nil && e.Followed == nil && e.Decided == nil && e.Ended == nil &&
		e.Retired == nil && e.Forgotten == nil && e.Adopted == nil && e.Joined == nil && e.Removed == nil &&
		e.Drained == nil && e.Undrained == nil && e.Restart == nil && e.Promoted == nil && e.Scaled == nil && e.Resumed == nil && e.Resolved == nil && e.Hastened == nil && e.Expanded == nil &&
		e.Dispatched == nil && e.Cancelled == nil && e.Rebalance == nil && e.Rebalanced == nil
}

// Encode returns the whole state, for a snapshot. Equal states give equal bytes.
func (s *State) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return b, nil
}

// DecodeState reads what State.Encode wrote. A state of a newer format is refused.
func DecodeState(b []byte) (*State, error) {
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if err := checkVersion(s.FormatVersion); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	s.restore()
	return s, nil
}

func checkVersion(v int) error {
	if v > EntryVersion {
		return fmt.Errorf("format version %d is newer than this program's %d; start a newer stowage", v, EntryVersion)
	}
	return nil
}
