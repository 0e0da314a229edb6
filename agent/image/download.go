package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stowage/stowage/spec"
)

const (
	// maxIdle is how many attempts in a row may bring nothing before a download fails.
	maxIdle = 3
	// maxAttempts bounds them all: a registry that ends each answer after a byte is none.
	maxAttempts = 100
	// retryGap is between two attempts.
	retryGap = 500 * time.Millisecond
	// partSuffix marks a download that is not whole.
	partSuffix = ".part"
)

// download is the way of one blob to the disk.
type download struct {
	store *Store
	ref   spec.ImageRef
	blob  blob
	tell  func(int64) // how many bytes came

	file *os.File
	sum  hash.Hash
	have int64 // bytes of the file, all of them in sum
}

// run brings the blob into the folder of downloads.
func (d *download) run(ctx context.Context) error {
	whole := filepath.Join(d.store.downloads(), d.blob.sha256)
	if info, err := os.Lstat(whole); err == nil && info.Size() == d.blob.size {
		d.tell(d.blob.size)
		return nil // it is verified again while it is unpacked
	}
	if err := d.open(ctx, whole+partSuffix); err != nil {
		return err
	}
	defer d.file.Close()
	idle := 0
	for attempt := 1; d.have < d.blob.size; attempt++ {
		before := d.have
		err := d.attempt(ctx)
		if err == nil {
			continue
		}
		if idle++; d.have > before {
			idle = 0
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errTooLarge), errors.Is(err, errDisk), idle >= maxIdle, attempt >= maxAttempts:
			return err
		case idle > 0 && !pause(ctx, retryGap):
			return context.Cause(ctx)
		}
	}
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.blob.sha256 {
		return errors.Join(fmt.Errorf("the registry has other bytes than it says: their digest is sha256:%s, and sha256:%s was asked for", got, d.blob.sha256), os.Remove(whole+partSuffix))
	}
	return os.Rename(whole+partSuffix, whole)
}

// open opens what an earlier attempt left, reading it so that the digest is of all bytes.
func (d *download) open(ctx context.Context, name string) (err error) {
	if d.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	d.sum = sha256.New()
	if d.have, err = io.Copy(d.sum, &counter{reader: d.file, ctx: ctx}); err == nil && d.have > d.blob.size {
		d.sum.Reset()
		d.have = 0
		_, err = d.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		d.file.Close()
		return fmt.Errorf("read what an earlier attempt downloaded: %w", err)
	}
	d.tell(d.have)
	return nil
}

// errDisk says that what came could not be written.
var errDisk = errors.New("it cannot be written")

// attempt asks for the rest, and writes what comes of it.
func (d *download) attempt(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(d.store.limits.Stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	body, from, err := d.store.registry.Blob(ctx, d.ref, "sha256:"+d.blob.sha256, d.have)
	if err != nil {
		return err
	}
	defer body.Close()
	if from != d.have { // the registry begins at the beginning
		d.tell(-d.have)
		d.sum.Reset()
		d.have = 0
		if _, err := d.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
	}
	if err := d.file.Truncate(d.have); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	in := &capped{left: d.blob.size - d.have, reader: &watched{ReadCloser: body, ctx: ctx, watchdog: watchdog, stall: d.store.limits.Stall}}
	_, err = io.Copy(d, in)
	if err == nil && d.have < d.blob.size {
		err = fmt.Errorf("the registry ends after %d of %d bytes", d.have, d.blob.size)
	}
	return err
}

// Write takes a part of the blob.
func (d *download) Write(p []byte) (int, error) {
	if over := d.have + int64(len(p)) - d.blob.size; over > 0 {
		return 0, errTooLarge
	}
	n, err := d.file.Write(p)
	d.sum.Write(p[:n])
	d.have += int64(n)
	d.tell(int64(n))
	if err != nil {
		err = fmt.Errorf("%w: %w", errDisk, err)
	}
	return n, err
}

// pause waits, and returns false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
