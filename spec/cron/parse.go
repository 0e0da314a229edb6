package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// MaxLength bounds an expression, in bytes.
const MaxLength = 256

// Schedule is an expression in a time zone. The zero value never fires.
type Schedule struct {
	minute, hour, day, month, weekday uint64 // a bit for each value
	anyHour, anyDay, anyWeekday       bool   // the field is *
	zone                              *time.Location
}

// field is what one of the five may hold.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var (
	minutes  = field{"minute", 0, 59, nil}
	hours    = field{"hour", 0, 23, nil}
	days     = field{"day of the month", 1, 31, nil}
	months   = field{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}}
	weekdays = field{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}
)

var nicknames = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// Parse reads an expression and the name of its time zone, such as Europe/Berlin; "" is UTC. The error is a sentence that
// says what to write. An expression that can never fire (30 February) is an error.
func Parse(expression, zone string) (*Schedule, error) {
	if len(expression) > MaxLength {
		return nil, fmt.Errorf("a cron expression is at most %d bytes long", MaxLength)
	}
	loc, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(expression))
	if len(words) == 1 && strings.HasPrefix(words[0], "@") {
		long, ok := nicknames[words[0]]
		if !ok {
			return nil, fmt.Errorf("%q is not known: write five fields such as \"0 3 * * *\", or one of @hourly, @daily, @weekly, @monthly, @yearly", expression)
		}
		words = strings.Fields(long)
	}
	if len(words) != 5 {
		return nil, fmt.Errorf("%q has %d fields, not five: minute, hour, day of the month, month, day of the week, as in \"0 3 * * *\"", expression, len(words))
	}
	s := &Schedule{zone: loc}
	for i, f := range []struct {
		field field
		set   *uint64
		any   *bool
	}{
		{minutes, &s.minute, nil}, {hours, &s.hour, &s.anyHour}, {days, &s.day, &s.anyDay}, {months, &s.month, nil}, {weekdays, &s.weekday, &s.anyWeekday},
	} {
		if *f.set, err = f.field.read(words[i]); err != nil {
			return nil, err
		}
		if f.any != nil {
			*f.any = words[i] == "*"
		}
	}
	if s.weekday&(1<<7) != 0 { // Sunday has two numbers
		s.weekday = s.weekday&^(1<<7) | 1
	}
	if !s.fires() {
		return nil, fmt.Errorf("%q never fires: no month that it names has such a day", expression)
	}
	return s, nil
}

// read turns the text of a field into the set of its values.
func (f field) read(text string) (uint64, error) {
	var set uint64
	for _, part := range strings.Split(text, ",") {
		bits, err := f.part(part)
		if err != nil {
			return 0, fmt.Errorf("the %s %q: %w", f.name, text, err)
		}
		set |= bits
	}
	return set, nil
}

// part reads one element of a list: *, 5, 1-5, */15, 8-18/2. A value with a step goes on to the end, as in 5/15.
func (f field) part(text string) (uint64, error) {
	text, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 || n > f.max {
			return 0, fmt.Errorf("%q is not a step: write a number from 1 to %d after the \"/\"", stepText, f.max)
		}
		step = n
	}
	first, last := f.min, f.max
	if f.names != nil && f.min == 0 { // the second number of Sunday is no day of its own
		last = len(f.names) - 1
	}
	if text != "*" {
		from, to, ranged := strings.Cut(text, "-")
		var err error
		if first, err = f.value(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if last, err = f.value(to); err != nil {
				return 0, err
			}
		case !stepped:
			last = first
		}
		if last < first {
			return 0, fmt.Errorf("%q runs backwards: write it as two ranges", text)
		}
	}
	var set uint64
	for v := first; v <= last; v += step {
		set |= 1 << v
	}
	return set, nil
}

func (f field) value(text string) (int, error) {
	for i, n := range f.names {
		if n == text {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max || text[0] == '+' || text[0] == '-' {
		hint := ""
		if f.names != nil {
			hint = fmt.Sprintf(", or a name such as %s", f.names[1])
		}
		return 0, fmt.Errorf("%q is not one: write *, or numbers from %d to %d%s", text, f.min, f.max, hint)
	}
	return n, nil
}

// longest is how many days each month has at most.
var longest = [13]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// fires reports whether any date matches.
func (s *Schedule) fires() bool {
	if !s.anyWeekday || s.anyDay {
		return true // each month has every day of the week
	}
	first := bits.TrailingZeros64(s.day)
	for m := 1; m <= 12; m++ {
		if s.month&(1<<m) != 0 && first <= longest[m] {
			return true
		}
	}
	return false
}

var errZone = errors.New("write the name of a place such as \"Europe/Berlin\", or \"UTC\"")
