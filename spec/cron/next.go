package cron

import (
	"math/bits"
	"time"

	"github.com/stowage/stowage/spec"
)

// maxDays bounds the search for the next day: 29 February of 2096 is eight years before the one of 2104.
const maxDays = 8*366 + 1

// Next returns the first firing after the given moment. It is false only for the zero value: Parse refuses what never
// fires. It looks at no more than nine years.
func (s *Schedule) Next(after spec.Time) (spec.Time, bool) {
	if s.zone == nil {
		return 0, false
	}
	t := after.Std().In(s.zone)
	day := date(t.Date())
	for range maxDays {
		if s.matches(day) {
			if at, ok := s.within(day, t); ok {
				return spec.TimeOf(at), true
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return 0, false
}

// Last returns the last firing in (since, at], and how many there are, counted up to most. Zero and 0 when there is none.
func (s *Schedule) Last(since, at spec.Time, most int) (last spec.Time, count int) {
	for t, ok := s.Next(since); ok && t <= at; t, ok = s.Next(t) {
		last = t
		count = min(count+1, most)
	}
	return last, count
}

// date is a day of the calendar, as its midnight in UTC: a place where it may be counted with.
func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// matches reports whether the expression fires on that day of the calendar.
func (s *Schedule) matches(day time.Time) bool {
	if s.month&(1<<day.Month()) == 0 {
		return false
	}
	inMonth, inWeek := s.day&(1<<day.Day()) != 0, s.weekday&(1<<day.Weekday()) != 0
	switch {
	case s.anyDay:
		return inWeek
	case s.anyWeekday:
		return inMonth
	}
	return inMonth || inWeek
}

// within returns the first firing after a moment on one day of the calendar.
func (s *Schedule) within(day, after time.Time) (time.Time, bool) {
	if s.anyHour {
		return s.everyHour(day, after)
	}
	for hour := range set(s.hour) {
		last := moment(day, hour, 63-bits.LeadingZeros64(s.minute), s.zone)
		if !last.After(after) {
			continue
		}
		for minute := range set(s.minute) {
			if at := moment(day, hour, minute, s.zone); at.After(after) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// everyHour goes by time that really passes: through the minutes of the day as they come.
func (s *Schedule) everyHour(day, after time.Time) (time.Time, bool) {
	t := moment(day, 0, 0, s.zone)
	if !t.After(after) {
		t = after.Truncate(time.Second).Add(time.Duration(60-after.Second()) * time.Second)
	}
	for sameDay(t, day) {
		if s.minute&(1<<t.Minute()) != 0 {
			return t, true
		}
		t = t.Add(time.Minute)
	}
	return time.Time{}, false
}

func sameDay(t, day time.Time) bool {
	y, m, d := t.Date()
	return d == day.Day() && m == day.Month() && y == day.Year()
}

// moment returns when a clock of the zone shows a time: the first moment when it does so twice, the one after the gap
// when it skips it.
func moment(day time.Time, hour, minute int, zone *time.Location) time.Time {
	y, m, d := day.Date()
	t := time.Date(y, m, d, hour, minute, 0, 0, zone)
	wall := time.Date(y, m, d, hour, minute, 0, 0, time.UTC).Unix()
	start, end := t.ZoneBounds()
	var first time.Time
	near := []time.Time{t}
	if !start.IsZero() {
		near = append(near, start.Add(-1))
	}
	if !end.IsZero() {
		near = append(near, end)
	}
	for _, like := range near {
		_, offset := like.Zone()
		at := time.Unix(wall-int64(offset), 0).In(zone)
		if _, real := at.Zone(); real == offset && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if !first.IsZero() {
		return first
	}
	// The clock jumps over it where one of the two neighbours is: at the one before which it shows less, and after it more.
	for _, edge := range []time.Time{start, end} {
		if edge.IsZero() {
			continue
		}
		_, before := edge.Add(-1).Zone()
		_, after := edge.Zone()
		if wall-int64(before) >= edge.Unix() && wall-int64(after) < edge.Unix() {
			return edge
		}
	}
	return t
}

// set runs through the values of a set, from the lowest.
func set(values uint64) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for ; values != 0; values &= values - 1 {
			if !yield(bits.TrailingZeros64(values)) {
				return
			}
		}
	}
}
