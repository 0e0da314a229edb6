package cron_test

import (
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
	"pgregory.net/rapid"
)

func window(t testing.TB, name, expression, zone string, d spec.Duration) *cron.Window {
	t.Helper()
	w, err := cron.NewWindow(spec.Window{Name: spec.WindowName(name), Cron: expression, Timezone: zone, Duration: d})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func at(t testing.TB, text string) spec.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return spec.TimeOf(m)
}

func TestWindowOpens(t *testing.T) {
	nightly := window(t, "nightly", "0 2 * * *", "Europe/Berlin", 3*spec.Hour)
	morning := window(t, "morning", "0 5 * * *", "Europe/Berlin", spec.Hour)
	friday := window(t, "friday", "0 22 * * fri", "", 2*spec.Hour)
	for _, c := range []struct {
		what        string
		windows     []*cron.Window
		now         string
		open        bool
		from, until string
		says        string
	}{
		{"before it opens", []*cron.Window{nightly}, "2026-11-26T20:00:00Z", false, "2026-11-27T01:00:00Z", "2026-11-27T04:00:00Z", "Fri 02:00 CET"},
		{"at the moment it opens", []*cron.Window{nightly}, "2026-11-27T01:00:00Z", true, "2026-11-27T01:00:00Z", "2026-11-27T04:00:00Z", "Fri 02:00 CET"},
		{"at the moment it closes", []*cron.Window{nightly}, "2026-11-27T04:00:00Z", false, "2026-11-28T01:00:00Z", "2026-11-28T04:00:00Z", "Sat 02:00 CET"},
		{"two without a gap are one", []*cron.Window{morning, nightly}, "2026-11-27T04:30:00Z", true, "2026-11-27T01:00:00Z", "2026-11-27T05:00:00Z", "Fri 02:00 CET"},
		{"of several the next", []*cron.Window{friday, nightly}, "2026-11-27T12:00:00Z", false, "2026-11-27T22:00:00Z", "2026-11-28T00:00:00Z", "Fri 22:00 UTC"},
		{"far away it says the date", []*cron.Window{window(t, "new-year", "0 0 1 1 *", "", spec.Hour)}, "2026-11-27T12:00:00Z", false, "2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z", "2027-01-01 00:00 UTC"},
		// 02:00 is skipped in the night of 29 March 2026: the window opens when the clock shows 03:00 and lasts three hours.
		{"the hour that is skipped", []*cron.Window{nightly}, "2026-03-28T12:00:00Z", false, "2026-03-29T01:00:00Z", "2026-03-29T04:00:00Z", "Sun 03:00 CEST"},
		// 02:00 comes twice in the night of 25 October 2026: the window opens the first time, once.
		{"the hour that comes twice", []*cron.Window{nightly}, "2026-10-25T01:30:00Z", true, "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z", "Sun 02:00 CEST"},
		{"after the hour that comes twice", []*cron.Window{nightly}, "2026-10-25T03:00:00Z", false, "2026-10-26T01:00:00Z", "2026-10-26T04:00:00Z", "Mon 02:00 CET"},
	} {
		o, open, found := cron.At(c.windows, at(t, c.now))
		if !found || open != c.open || o.From != at(t, c.from) || o.Until != at(t, c.until) || o.Says != c.says {
			t.Errorf("%s: open %v from %s until %s, %q", c.what, open, o.From.Std(), o.Until.Std(), o.Says)
		}
	}
	if _, open, found := cron.At(nil, at(t, "2026-11-27T04:00:00Z")); open || found {
		t.Error("without windows there is an opening")
	}
}

// TestWindowAgreesWithMinutes compares with a second way to say it: of the minutes before now, one is a firing.
func TestWindowAgreesWithMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}).Draw(t, "zone")
		expression := rapid.SampledFrom([]string{"0 2 * * *", "30 1 * * *", "0 */6 * * *", "15 3 * * sun"}).Draw(t, "cron")
		minutes := rapid.IntRange(1, 5*60).Draw(t, "minutes")
		w, err := cron.NewWindow(spec.Window{Cron: expression, Timezone: zone, Duration: spec.Duration(minutes) * spec.Minute})
		if err != nil {
			t.Fatal(err)
		}
		s, err := cron.Parse(expression, zone)
		if err != nil {
			t.Fatal(err)
		}
		// Around the nights in which clocks change, of 2026.
		begin := rapid.SampledFrom([]string{"2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-03-07T12:00:00Z", "2026-10-31T12:00:00Z", "2026-04-04T00:00:00Z"}).Draw(t, "begin")
		b, _ := time.Parse(time.RFC3339, begin)
		now := spec.TimeOf(b).Add(spec.Duration(rapid.IntRange(0, 36*60).Draw(t, "after")) * spec.Minute)
		want := false
		for k := range minutes {
			m := now.Add(-spec.Duration(k) * spec.Minute)
			if next, ok := s.Next(m - 1); ok && next == m {
				want = true
			}
		}
		o, open, found := cron.At([]*cron.Window{w}, now)
		if !found || open != want || open && (now < o.From || now >= o.Until) || !open && o.From <= now {
			t.Fatalf("%s %s for %d minutes at %s: open %v, by minutes %v; %s to %s", expression, zone, minutes, now.Std(), open, want, o.From.Std(), o.Until.Std())
		}
		if open {
			if _, before, _ := cron.At([]*cron.Window{w}, o.From-1); before {
				t.Fatal("it was open before it opened")
			}
			if _, after, _ := cron.At([]*cron.Window{w}, o.Until); after {
				t.Fatal("it is open after it closed")
			}
		}
	})
}

func TestCheckWindow(t *testing.T) {
	for _, c := range []struct {
		w    spec.Window
		want string
	}{
		{spec.Window{Cron: "0 2 * * *", Timezone: "Europe/Berlin", Duration: 24 * spec.Hour}, ""},
		{spec.Window{Cron: "0 2 * * *", Duration: 24*spec.Hour + spec.Minute}, "duration"},
		{spec.Window{Cron: "0 2,3 * * *", Duration: 90 * spec.Minute}, "duration"},
		{spec.Window{Cron: "0 2 31 2 *", Duration: spec.Hour}, "cron"},
		{spec.Window{Cron: "0 2 * * *", Timezone: "Nowhere", Duration: spec.Hour}, "timezone"},
		{spec.Window{Cron: "0 2 * * *", Duration: 30 * spec.Second}, "duration"},
		{spec.Window{Cron: "0 2 1 * *", Duration: 8 * 24 * spec.Hour}, "duration"},
	} {
		if got, err := cron.CheckWindow(c.w); got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%+v: %q, %v", c.w, got, err)
		}
	}
}
