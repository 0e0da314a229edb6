package master

import (
	"strconv"
	"strings"
	"sync"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// maxBehind is how many events a listener may be behind before it is cut: a slow reader costs memory, never time.
const maxBehind = 4096

// story keeps the newest events and passes new ones on to who listens.
type story struct {
	epoch string // of this process, so that an ID of an earlier one is not taken for one of this

	mu        sync.Mutex
	first     uint64 // number of ring[0]
	ring      []spec.Event
	listeners map[*listener]bool
}

// listener is one reader of the story.
type listener struct {
	events chan api.Event // closed when it was cut
}

func newStory(started spec.Time) *story {
	return &story{epoch: strconv.FormatInt(int64(started), 36), first: 1, listeners: map[*listener]bool{}}
}

func (s *story) id(n uint64) string { return s.epoch + "-" + strconv.FormatUint(n, 10) }

// publish adds events. It never waits.
func (s *story) publish(events []spec.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		n := s.first + uint64(len(s.ring))
		s.ring = append(s.ring, e)
		for l := range s.listeners {
			select {
			case l.events <- api.Event{ID: s.id(n), Event: e}:
			default:
				delete(s.listeners, l)
				close(l.events)
			}
		}
	}
	if over := len(s.ring) - control.MaxEvents; over > control.MaxEvents/4 {
		s.ring = append([]spec.Event(nil), s.ring[over:]...)
		s.first += uint64(over)
	}
}

// listen returns the past from just after the event with this ID, and what comes then. Without an ID (or with one that is
// not known any more: gap is then true) the past is the last tail events.
func (s *story) listen(after string, tail int) (past []api.Event, gap bool, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(len(s.ring)-tail, 0)
	if after != "" {
		n, ok := s.position(after)
		gap = !ok
		if from = n; gap {
			from = 0
		}
	}
	for i := from; i < len(s.ring); i++ {
		past = append(past, api.Event{ID: s.id(s.first + uint64(i)), Event: s.ring[i]})
	}
	l = &listener{events: make(chan api.Event, maxBehind)}
	s.listeners[l] = true
	return past, gap, l
}

// position finds the index behind the event with an ID.
func (s *story) position(id string) (int, bool) {
	epoch, number, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || epoch != s.epoch || n+1 < s.first || n >= s.first+uint64(len(s.ring)) {
		return 0, false
	}
	return int(n + 1 - s.first), true
}

func (s *story) leave(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// about returns the newest events about subjects that match, oldest first, at most limit.
func (s *story) about(match func(subject string) bool, limit int) []spec.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []spec.Event
	for i := len(s.ring) - 1; i >= 0 && len(out) < limit; i-- {
		if match(s.ring[i].Subject) {
			out = append(out, s.ring[i])
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
