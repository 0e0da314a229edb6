package cron_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

func moment(t *testing.T, text string) spec.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return spec.TimeOf(at)
}

// TestNext tells firings one after the other. Times are those that a clock of the place shows.
func TestNext(t *testing.T) {
	for _, c := range []struct{ expression, zone, after, want string }{
		{"0 3 * * *", "", "2026-11-26T02:59:59Z", "2026-11-26T03:00:00Z 2026-11-27T03:00:00Z"},
		{"0 3 * * *", "UTC", "2026-11-26T03:00:00Z", "2026-11-27T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-11-26T00:00:00Z", "2026-11-26T03:00:00+01:00"},
		{"*/20 8-9 * * mon-fri", "", "2026-11-27T09:30:00Z", "2026-11-27T09:40:00Z 2026-11-30T08:00:00Z 2026-11-30T08:20:00Z"},
		{"0 0 1,15 * *", "", "2026-11-26T00:00:00Z", "2026-12-01T00:00:00Z 2026-12-15T00:00:00Z"},
		{"0 0 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		{"0 0 29 2 *", "", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 31 * *", "", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"},
		// Either day is enough: 2026-02-13 is a Friday, and so is the 20th.
		{"0 0 15 * fri", "", "2026-02-13T00:00:00Z", "2026-02-15T00:00:00Z 2026-02-20T00:00:00Z"},
		{"0 0 * * 7", "", "2026-11-26T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"0 0 * * sun", "", "2026-11-26T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"5/25 * * * *", "", "2026-11-26T00:00:00Z", "2026-11-26T00:05:00Z 2026-11-26T00:30:00Z 2026-11-26T00:55:00Z 2026-11-26T01:05:00Z"},
		{"@weekly", "", "2026-11-26T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"@yearly", "Asia/Tokyo", "2026-11-26T00:00:00Z", "2027-01-01T00:00:00+09:00"},

		// On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"*/15 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00"},
		{"30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00"},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", "2026-03-29T01:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00"},
		{"30 * * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", "2026-03-29T01:30:00+01:00 2026-03-29T03:30:00+02:00"},
		// On 2026-10-25 they go from 03:00 back to 02:00.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-26T02:30:00+01:00"},
		{"0 3 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T03:00:00+01:00"},
		{"*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", "2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:30:00+01:00 2026-10-25T03:00:00+01:00"},
		// Half an hour on Lord Howe Island, midnight in Santiago, a whole day in Samoa.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T02:30:00+11:00"},
		{"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T01:00:00-03:00 2026-09-07T00:00:00-03:00"},
		{"0 0 * * *", "America/Santiago", "2026-04-04T12:00:00Z", "2026-04-05T00:00:00-04:00"},
		{"0 9 30 12 *", "Pacific/Apia", "2011-12-29T20:00:00-10:00", "2011-12-31T00:00:00+14:00"},
	} {
		s, err := cron.Parse(c.expression, c.zone)
		if err != nil {
			t.Errorf("%s in %s: %v", c.expression, c.zone, err)
			continue
		}
		zone, _ := cron.Zone(c.zone)
		at := moment(t, c.after)
		var got []string
		for range strings.Fields(c.want) {
			at, _ = s.Next(at)
			got = append(got, at.Std().In(zone).Format(time.RFC3339))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s in %s after %s:\n got %s\nwant %s", c.expression, c.zone, c.after, strings.Join(got, " "), c.want)
		}
	}
}

func TestWrongExpressions(t *testing.T) {
	for _, c := range []struct{ expression, zone, want string }{
		{"0 0 30 2 *", "", "never fires"},
		{"0 0 31 4,6,9,11 *", "", "never fires"},
		{"0 3 * *", "", "has 4 fields, not five"},
		{"0 0 3 * * *", "", "has 6 fields, not five"},
		{"", "", "has 0 fields"},
		{"60 * * * *", "", `"60" is not one: write *, or numbers from 0 to 59`},
		{"* * 0 * *", "", "numbers from 1 to 31"},
		{"* * * * mond", "", "or a name such as mon"},
		{"* 5-3 * * *", "", "runs backwards"},
		{"*/0 * * * *", "", "is not a step"},
		{"*/90 * * * *", "", "is not a step"},
		{", * * * *", "", "is not one"},
		{"+5 * * * *", "", "is not one"},
		{"@every 5m", "", "has 2 fields"},
		{"@fortnightly", "", "is not known"},
		{strings.Repeat("0,", 200) + "0 * * * *", "", "at most 256 bytes"},
		{"0 3 * * *", "Europe/Atlantis", `there is no time zone "Europe/Atlantis"`},
		{"0 3 * * *", "Local", "there is no time zone"},
		{"0 3 * * *", "../../etc/passwd", "there is no time zone"},
		{"0 3 * * *", "Europe/", "there is no time zone"},
		{"0 3 * * *", strings.Repeat("x", 1000), "…"},
	} {
		if _, err := cron.Parse(c.expression, c.zone); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q in %q: %v, want %q", c.expression, c.zone, err, c.want)
		}
	}
	if _, ok := new(cron.Schedule).Next(0); ok {
		t.Error("a schedule of nothing fires")
	}
}

// TestAgainstTheMinutes walks through minutes of real time and asks of each whether a clock of the place shows what the
// expression names: the slow and plain meaning, without the rules for gaps and hours that come twice.
func TestAgainstTheMinutes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"}
	number := func(from, to int) string { return fmt.Sprint(from + r.IntN(to-from+1)) }
	for range 150 {
		name := zones[r.IntN(len(zones))]
		zone, err := cron.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		minute, hour, weekday := r.IntN(60), 4+r.IntN(20), r.IntN(7) // no clock here is set after four
		expression := fmt.Sprintf("%d %d * * %d", minute, hour, weekday)
		fires := func(at time.Time) bool {
			return at.Minute() == minute && at.Hour() == hour && int(at.Weekday()) == weekday
		}
		if r.IntN(2) == 0 {
			step := 1 + r.IntN(59)
			expression = "*/" + fmt.Sprint(step) + " * * * *"
			fires = func(at time.Time) bool { return at.Minute()%step == 0 }
		}
		s, err := cron.Parse(expression, name)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("2006-1-2", "2026-"+number(1, 12)+"-"+number(1, 28))
		if err != nil {
			t.Fatal(err)
		}
		next, _ := s.Next(spec.TimeOf(at))
		for range 9 * 24 * 60 {
			at = at.Add(time.Minute)
			if fires(at.In(zone)) {
				if spec.TimeOf(at) != next {
					t.Fatalf("%s in %s: %s fires, the next is said to be %s", expression, name, at.In(zone), next.Std().In(zone))
				}
				next, _ = s.Next(next)
			} else if spec.TimeOf(at) == next {
				t.Fatalf("%s in %s: %s is said to fire", expression, name, at.In(zone))
			}
		}
	}
}

func TestLast(t *testing.T) {
	s, err := cron.Parse("*/10 * * * *", "")
	if err != nil {
		t.Fatal(err)
	}
	at, n := s.Last(moment(t, "2026-11-26T00:00:00Z"), moment(t, "2026-11-26T01:00:00Z"), 100)
	if at != moment(t, "2026-11-26T01:00:00Z") || n != 6 {
		t.Errorf("last %s of %d", at.Std(), n)
	}
	if at, n := s.Last(moment(t, "2026-11-26T00:00:00Z"), moment(t, "2026-11-26T00:09:59Z"), 100); at != 0 || n != 0 {
		t.Errorf("last %s of %d, want none", at.Std(), n)
	}
	if _, n := s.Last(moment(t, "2026-11-26T00:00:00Z"), moment(t, "2026-11-27T00:00:00Z"), 100); n != 100 {
		t.Errorf("%d are counted, want no more than 100", n)
	}
}

// TestZonesComeFromTheProgram holds as long as no zone is looked for on the machine.
func TestZonesComeFromTheProgram(t *testing.T) {
	t.Setenv("ZONEINFO", "/nowhere")
	zone, err := cron.Zone("America/Sao_Paulo")
	if err != nil || zone.String() != "America/Sao_Paulo" {
		t.Fatal(zone, err)
	}
	if _, offset := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Zone(); offset != -3*3600 {
		t.Errorf("the offset is %d s", offset)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0 3 * * *", "Europe/Berlin")
	f.Add("*/15 8-18/2 1,15 jan-mar,dec sun", "")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		s, err := cron.Parse(expression, zone)
		if err != nil {
			return
		}
		const after = spec.Time(1_800_000_000_000_000_000)
		first, ok := s.Next(after)
		second, again := s.Next(first)
		if !ok || !again || first <= after || second <= first {
			t.Errorf("%q in %q: %d, then %d", expression, zone, first, second)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	s, err := cron.Parse("0 3 * * *", "Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Next(1_800_000_000_000_000_000)
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := cron.Parse("0 3 * * *", "Europe/Berlin"); err != nil {
			b.Fatal(err)
		}
	}
}
