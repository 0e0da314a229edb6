package cron

import (
	"fmt"
	"time"

	"github.com/stowage/stowage/spec"
)

// maxJoined bounds how many openings that follow one another without a gap are looked at to find where they begin and end.
const maxJoined = 64

// Window tells when a spec.Window is open.
type Window struct {
	name     spec.WindowName
	schedule *Schedule
	duration spec.Duration
}

// Opening is a time in which a window is open: From is part of it, Until is not.
type Opening struct {
	Window      spec.WindowName // of several, the one that opens first
	From, Until spec.Time
	Says        string // when it opens, by the clock of the window's place: "Fri 02:00 CET"
}

// NewWindow reads a window. The error is a sentence that says what to write.
func NewWindow(w spec.Window) (*Window, error) {
	s, err := Parse(w.Cron, w.Timezone)
	if err != nil {
		return nil, err
	}
	return &Window{w.Name, s, w.Duration}, nil
}

// At returns the opening of the windows together that the moment lies in, or else the next one. Openings that follow one
// another without a gap are one. It is not found without windows.
func At(windows []*Window, now spec.Time) (o Opening, open, found bool) {
	for _, w := range windows {
		n, ok := w.at(now)
		if !ok {
			continue
		}
		if in := n.From <= now; !found || in && !open || in == open && n.From < o.From {
			o, open, found = n, in, true
		}
	}
	if open {
		o = join(windows, o)
	}
	return o, open, found
}

// join makes an opening longer by those that it touches.
func join(windows []*Window, o Opening) Opening {
	for range maxJoined {
		was := o
		for _, w := range windows {
			if n, ok := w.at(o.From - 1); ok && n.From < o.From {
				o.From, o.Window, o.Says = n.From, n.Window, n.Says
			}
			if n, ok := w.at(o.Until); ok && n.From <= o.Until {
				o.Until = max(o.Until, n.Until)
			}
		}
		if o == was {
			break
		}
	}
	return o
}

// at returns the opening of one window that the moment lies in, or else the next one.
func (w *Window) at(now spec.Time) (Opening, bool) {
	from, ok := w.schedule.Next(now.Add(-w.duration))
	if !ok {
		return Opening{}, false
	}
	return Opening{Window: w.name, From: from, Until: from.Add(w.duration), Says: w.says(from, now)}, true
}

// says tells a moment by the clock of the window's place: with the day of the week when it is near, else with the date.
func (w *Window) says(t, now spec.Time) string {
	layout := "Mon 15:04 MST"
	if d := t.Sub(now); d > 6*24*spec.Hour || d < -6*24*spec.Hour {
		layout = "2006-01-02 15:04 MST"
	}
	return t.Std().In(w.schedule.zone).Format(layout)
}

// CheckWindow reports what is wrong with the times of a window, or nil: the argument that is to blame, and a sentence.
func CheckWindow(w spec.Window) (argument string, err error) {
	s, err := Parse(w.Cron, w.Timezone)
	if err != nil {
		if _, zone := Zone(w.Timezone); zone != nil {
			return "timezone", err
		}
		return "cron", err
	}
	if w.Duration < spec.Minute || w.Duration > spec.MaxWindow {
		return "duration", fmt.Errorf("a window is open for at least %s and at most %s at a time, but here it is %s", spec.Minute, spec.MaxWindow, w.Duration)
	}
	if gap := s.shortest(); w.Duration > gap {
		return "duration", fmt.Errorf("the window opens again after %s, before the %s that it is open are over: make it shorter, or let cron name fewer times", gap, w.Duration)
	}
	return "", nil
}

// looked is how many firings are looked at to find the shortest time between two: a year of nights, a day of quarter hours.
const looked = 400

// shortest returns the least time between two firings, by a clock that is never changed.
func (s *Schedule) shortest() spec.Duration {
	even := *s
	even.zone = time.UTC
	least := spec.Duration(spec.MaxDuration)
	last, ok := even.Next(0)
	for range looked {
		if !ok {
			break
		}
		next, more := even.Next(last)
		if more {
			least = min(least, next.Sub(last))
		}
		last, ok = next, more
	}
	return least
}
