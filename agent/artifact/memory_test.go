package artifact

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestFewUnpack: no more helpers unpack at once than have memory.
func TestFewUnpack(t *testing.T) {
	a := at("https://example.com/x")
	a.Format = spec.FormatFile
	within, leave, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	for range unpackers {
		go func() {
			ended <- new(Fetcher).Unpack(context.Background(), a, "x", spool(t), plenty, func(r io.Reader) error {
				within <- struct{}{}
				<-leave
				return discard(r)
			})
		}()
	}
	for range unpackers {
		<-within
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(Fetcher).Unpack(ctx, a, "x", spool(t), plenty, func(io.Reader) error { return errors.New("one too many") }); !errors.Is(err, context.Canceled) {
		t.Errorf("beside %d that unpack: %v", unpackers, err)
	}
	close(leave)
	for range unpackers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := new(Fetcher).Unpack(t.Context(), a, "x", spool(t), plenty, discard); err != nil {
		t.Errorf("after them: %v", err)
	}
}
