package agent

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec/wire"
)

// views makes windows that serve answers; what they send arrives in the channel, which nobody has to read.
func views(t *testing.T, serve func(context.Context, *wire.Open, executor.Streams) (int, error)) (*windows, chan *wire.Up) {
	ups := make(chan *wire.Up, 10_000)
	w := &windows{serve: serve, send: func(up *wire.Up) { ups <- up }, wg: new(sync.WaitGroup), all: map[uint64]*window{}}
	t.Cleanup(func() { w.close(); w.wg.Wait() })
	return w, ups
}

// sent collects what a window sends until its end.
func sent(ups chan *wire.Up) (output []byte, credit int, end *wire.Data) {
	for up := range ups {
		output = append(output, up.Data.Bytes...)
		credit += up.Data.Credit
		if up.Data.End {
			return output, credit, up.Data
		}
	}
	return nil, 0, nil
}

// TestInputWaitsForACommandThatDoesNotRead types a window's worth of single bytes before the command reads the first.
func TestInputWaitsForACommandThatDoesNotRead(t *testing.T) {
	var want []byte
	typed := make(chan struct{})
	w, ups := views(t, func(_ context.Context, _ *wire.Open, s executor.Streams) (int, error) {
		<-typed
		got, err := io.ReadAll(s.Stdin)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrive of %d", len(got), len(want))
		}
		return 7, err
	})
	w.open(&wire.Open{Stream: 1, Exec: &wire.Exec{Stdin: true}})
	for i := range 5000 {
		want = append(want, byte(i))
		w.data(&wire.Data{Stream: 1, Bytes: []byte{byte(i)}})
	}
	rest := make([]byte, wire.Window-len(want))
	want = append(want, rest...)
	w.data(&wire.Data{Stream: 1, Bytes: rest})
	w.data(&wire.Data{Stream: 1, End: true})
	close(typed)
	_, credit, end := sent(ups)
	if end.Code != 7 || end.Err != "" || credit != wire.Window {
		t.Errorf("end %+v, %d bytes granted again", end, credit)
	}
}

// TestAWindowIsCutThatSendsMoreThanGranted and a slow reader holds up its own window only.
func TestAWindowIsCutThatSendsMoreThanGranted(t *testing.T) {
	w, ups := views(t, func(ctx context.Context, o *wire.Open, s executor.Streams) (int, error) {
		if o.Stream == 1 {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		_, err := s.Stdout.Write(make([]byte, wire.Window+1))
		return 0, err
	})
	w.open(&wire.Open{Stream: 1, Exec: &wire.Exec{}})
	w.data(&wire.Data{Stream: 1, Bytes: make([]byte, 2*wire.Window)})
	if _, _, end := sent(ups); end.Stream != 1 {
		t.Errorf("stream %d ended", end.Stream)
	}
	w.open(&wire.Open{Stream: 2, Logs: &wire.Logs{}})
	w.open(&wire.Open{Stream: 3, Logs: &wire.Logs{}})
	w.data(&wire.Data{Stream: 3, Credit: 1})
	count := map[uint64]int{}
	for up := range ups {
		if count[up.Data.Stream] += len(up.Data.Bytes); up.Data.End {
			break
		}
	}
	if count[3] != wire.Window+1 || count[2] > wire.Window {
		t.Errorf("sent by stream: %v", count)
	}
}

// TestWindowsOfAnEndedStreamLeaveTheNextAlone: both streams to the master number their windows from 1.
func TestWindowsOfAnEndedStreamLeaveTheNextAlone(t *testing.T) {
	linger := make(chan struct{})
	old, oldUps := views(t, func(ctx context.Context, _ *wire.Open, s executor.Streams) (int, error) {
		<-linger
		_, err := s.Stdout.Write([]byte("late"))
		return 0, err
	})
	next, ups := views(t, func(_ context.Context, _ *wire.Open, s executor.Streams) (int, error) {
		_, err := io.Copy(s.Stdout, s.Stdin)
		return 0, err
	})
	old.open(&wire.Open{Stream: 1, Logs: &wire.Logs{}})
	old.close()
	next.open(&wire.Open{Stream: 1, Exec: &wire.Exec{Stdin: true}})
	close(linger)
	if output, _, _ := sent(oldUps); len(output) > 0 {
		t.Errorf("a window that was closed sends %q", output)
	}
	next.data(&wire.Data{Stream: 1, Bytes: []byte("on")})
	next.data(&wire.Data{Stream: 1, End: true})
	if output, _, end := sent(ups); string(output) != "on" || end.Err != "" {
		t.Errorf("%q, end %+v", output, end)
	}
}

// TestAWindowThatIsClosedEndsItsInput also for who waits for nothing but that.
func TestAWindowThatIsClosedEndsItsInput(t *testing.T) {
	w, ups := views(t, func(_ context.Context, _ *wire.Open, s executor.Streams) (int, error) {
		_, err := io.ReadAll(s.Stdin)
		return 0, err
	})
	w.open(&wire.Open{Stream: 1, Files: &wire.Files{Deed: wire.Unpack}})
	w.data(&wire.Data{Stream: 1, Bytes: []byte("half")})
	w.data(&wire.Data{Stream: 1, End: true, Err: "closed"})
	if _, _, end := sent(ups); end == nil || end.Err == "" {
		t.Errorf("end %+v", end)
	}
}

// TestAWindowThatIsClosedEndsItsOutput of which nobody has read so much that there is no room for more.
func TestAWindowThatIsClosedEndsItsOutput(t *testing.T) {
	w, ups := views(t, func(_ context.Context, _ *wire.Open, s executor.Streams) (int, error) {
		_, err := s.Stdout.Write(make([]byte, wire.Window+1))
		return 0, err
	})
	w.open(&wire.Open{Stream: 1, Files: &wire.Files{Deed: wire.Pack}})
	for left := wire.Window; left > 0; {
		left -= len((<-ups).Data.Bytes)
	}
	w.data(&wire.Data{Stream: 1, End: true, Err: "closed"})
	if _, _, end := sent(ups); end == nil || end.Err == "" {
		t.Errorf("end %+v", end)
	}
}
