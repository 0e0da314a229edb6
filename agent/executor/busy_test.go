package executor

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A FIFO is widened for a task that writes much, and only for one.
func TestBusyStreamIsWidened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, task, err := openFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	room := func() int {
		size, err := unix.FcntlInt(task.Fd(), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	var got bytes.Buffer
	ended := make(chan struct{})
	go func() { pump(reader, &got); close(ended) }()
	written := 0
	write := func(size int) {
		n, err := task.Write(bytes.Repeat([]byte("x"), size))
		if written += n; err != nil {
			t.Fatal(err)
		}
	}
	was := room()
	for written < busyReads*readSize-readSize {
		write(80)
	}
	if now := room(); now != was {
		t.Errorf("after %d bytes the FIFO holds %d bytes, before %d", written, now, was)
	}
	for deadline := time.Now().Add(time.Minute); room() == was; write(readSize) {
		if time.Now().After(deadline) {
			t.Fatalf("after %d bytes the FIFO holds no more than before", written)
		}
	}
	task.Close()
	<-ended
	reader.Close()
	if got.Len() != written {
		t.Errorf("%d bytes were read, %d written", got.Len(), written)
	}
}
