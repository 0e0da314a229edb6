package journal

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrNotLeader is returned where only the leader may act. Ask Leader for the member to go to.
	ErrNotLeader = errors.New("this member is not the leader")
	// ErrFull means that the disk of the journal has no room. It works again as soon as there is room.
	ErrFull = errors.New("the journal's disk is full: free some space, the journal goes on by itself")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the journal is closed")
	// ErrNewer means that a newer version of this program wrote the data.
	ErrNewer = errors.New("the journal was written by a newer version of stowage: start that version, or a newer one")
	// ErrLocked means that another process has the directory open.
	ErrLocked = errors.New("another process has the journal open: stop it first, or give this one its own directory")
	// ErrDamaged means that what is on the disk contradicts its checksums or has a gap.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrTooLarge means that an Append is larger than MaxAppend.
	ErrTooLarge = errors.New("the entries are too large for one append")
)

// Fate says what became of an Append that failed.
type Fate int

// The fates of an append.
const (
	// NotWritten: no member has it, and none ever will.
	NotWritten Fate = iota
	// Unknown: it may or may not come into force; only a later read tells.
	Unknown
	// Written: it is durable and in order, and the machine refused it.
	Written
)

// String returns the fate as it stands in an error's text.
func (f Fate) String() string {
	switch f {
	case NotWritten:
		return "nothing was written"
	case Written:
		return "it was written"
	default:
		return "it is unknown whether it was written"
	}
}

// AppendError is the error of every failed Append.
type AppendError struct {
	Fate Fate
	Err  error
}

// Error names the cause and the fate.
func (e *AppendError) Error() string { return fmt.Sprintf("append to journal: %v (%v)", e.Err, e.Fate) }

// Unwrap returns the cause.
func (e *AppendError) Unwrap() error { return e.Err }

// FateOf returns the fate that an error of Append carries. An error from elsewhere has the fate Unknown.
func FateOf(err error) Fate {
	var a *AppendError
	if errors.As(err, &a) {
		return a.Fate
	}
	return Unknown
}

// diskError adds ErrFull to the errors of a system that has no room left: a full disk, a quota, a limit on file sizes.
func diskError(err error) error {
	if err == nil || errors.Is(err, ErrFull) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
