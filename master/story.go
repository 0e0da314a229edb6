package master

import (
	"strconv"
	"strings"
	"sync"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// maxTold is how many events one look at the story returns.
const maxTold = 256

// story keeps the newest events. Who listens reads them from here, so a slow reader costs nothing and holds up nobody: it misses
// what was dropped meanwhile, and is told so.
type story struct {
	epoch string // of this process, so that an ID of an earlier one is not taken for one of this

	mu      sync.Mutex
	first   uint64 // number of ring[0]
	ring    []spec.Event
	changed chan struct{} // closed at the next event, then replaced
}

func newStory(started spec.Time) *story {
	return &story{epoch: strconv.FormatInt(int64(started), 36), first: 1, changed: make(chan struct{})}
}

func (s *story) id(n uint64) string { return s.epoch + "-" + strconv.FormatUint(n, 10) }

// publish adds events. It never waits.
func (s *story) publish(events []spec.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = append(s.ring, events...)
	if over := len(s.ring) - control.MaxEvents; over > control.MaxEvents/4 {
		s.ring = append([]spec.Event(nil), s.ring[over:]...)
		s.first += uint64(over)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// since returns the number of the event after the one with this ID. Without an ID it is that of the first of the last tail events that
// match; gap is true with one that is not known any more, and the number then that of the oldest.
func (s *story) since(after string, tail int, match func(*spec.Event) bool) (number uint64, gap bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after == "" {
		i := len(s.ring)
		for ; i > 0 && tail > 0; i-- {
			if match(&s.ring[i-1]) {
				tail--
			}
		}
		return s.first + uint64(i), false
	}
	epoch, text, ok := strings.Cut(after, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || epoch != s.epoch || n >= s.first+uint64(len(s.ring)) || n+1 < s.first {
		return s.first, true
	}
	return n + 1, false
}

// from returns events from a number on, and the number that follows them. gap says that the first ones are not kept any more.
// Without an event, more is closed when there is one.
func (s *story) from(number uint64) (events []api.Event, next uint64, gap bool, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap = number < s.first
	next = max(number, s.first)
	for i := int(next - s.first); i < len(s.ring) && len(events) < maxTold; i++ {
		events = append(events, api.Event{ID: s.id(next), Event: s.ring[i]})
		next++
	}
	return events, next, gap, s.changed
}

// about returns the newest events that match, oldest first, at most limit.
func (s *story) about(match func(*spec.Event) bool, limit int) []spec.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []spec.Event
	for i := len(s.ring) - 1; i >= 0 && len(out) < limit; i-- {
		if match(&s.ring[i]) {
			out = append(out, s.ring[i])
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
