package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MilliCPU counts thousandths of a processor core.
type MilliCPU int64

// String prints cores without trailing zeros: 500 is "0.5".
func (m MilliCPU) String() string { return Milli(m).String() }

// Milli counts thousandths of anything: the unit of named resources, scores and shares.
type Milli int64

// String prints the number without trailing zeros: 2500 is "2.5".
func (m Milli) String() string {
	sign, n := "", int64(m)
	if n < 0 {
		sign, n = "-", -n
	}
	text := strconv.FormatInt(n/1000, 10)
	if f := n % 1000; f != 0 {
		text += "." + strings.TrimRight(fmt.Sprintf("%03d", f), "0")
	}
	return sign + text
}

// Bytes counts bytes. It is written as "256MiB", "1.5GiB", "2GB" or a plain number of bytes.
type Bytes int64

// The units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

// MaxBytes is the largest size accepted: beyond it, sums over a large cluster could overflow.
const MaxBytes = 1 << 50

var byteUnits = []struct {
	suffix string
	size   float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseBytes reads a size such as "256MiB".
func ParseBytes(text string) (Bytes, error) {
	number, unit := strings.TrimSpace(text), 1.0
	for _, u := range byteUnits {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.size
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || strings.ContainsAny(number, "xXpP_nN") {
		return 0, fmt.Errorf("%q is not a size: write it as \"256MiB\", \"1.5GiB\" or \"2GB\"", text)
	}
	if f < 0 || f*unit > MaxBytes {
		return 0, fmt.Errorf("the size %q is out of range: from 0 to 1024TiB", text)
	}
	return Bytes(math.Round(f * unit)), nil
}

// String prints the size in the largest binary unit that keeps it exact to a tenth or better: "256MiB", "1.5GiB".
func (b Bytes) String() string {
	if b < 0 {
		return "-" + (-b).String()
	}
	for _, u := range []struct {
		size Bytes
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b >= u.size {
			return strings.TrimSuffix(strconv.FormatFloat(float64(b)/float64(u.size), 'f', 1, 64), ".0") + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Duration is a length of time. In JSON and HCL it is text such as "1m30s".
type Duration time.Duration

// Common durations.
const (
	Millisecond = Duration(time.Millisecond)
	Second      = Duration(time.Second)
	Minute      = Duration(time.Minute)
	Hour        = Duration(time.Hour)
)

// MaxDuration is the longest duration accepted in a spec.
const MaxDuration = 10 * 365 * 24 * Hour

// ParseDuration reads a duration such as "1m30s"; "d" for days of 24 hours is understood as the only unit ("7d").
func ParseDuration(text string) (Duration, error) {
	t := strings.TrimSpace(text)
	if days, ok := strings.CutSuffix(t, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && Duration(n)*24*Hour <= MaxDuration {
			return Duration(n) * 24 * Hour, nil
		}
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it as \"500ms\", \"10s\", \"1m30s\", \"2h\" or \"7d\"", text)
	}
	if d < 0 || Duration(d) > MaxDuration {
		return 0, fmt.Errorf("the duration %q is out of range: from 0 to ten years", text)
	}
	return Duration(d), nil
}

// String prints the duration without empty units: "1m30s", "10m", "2h".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Time is a moment, in nanoseconds since the Unix epoch. The core never asks a clock: every Time it sees is part of
// its input. In JSON it is RFC 3339 in UTC, or "" when unset.
type Time int64

// TimeOf converts from the standard library's time.
func TimeOf(t time.Time) Time { return Time(t.UnixNano()) }

// Std converts to the standard library's time, in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// Add returns the moment d later.
func (t Time) Add(d Duration) Time { return t + Time(d) }

// Sub returns the time that passed from o to t.
func (t Time) Sub(o Time) Duration { return Duration(t - o) }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return []byte(t.Std().Format(time.RFC3339Nano)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = 0
		return nil
	}
	v, err := time.Parse(time.RFC3339Nano, string(text))
	*t = TimeOf(v)
	return err
}

// Percent is a whole percentage from 0 to 100, or an absolute number, as in max_prune = "20%" or max_unavailable = 2.
type Percent struct {
	Value    int  `json:"value"`
	Absolute bool `json:"absolute,omitempty"` // Value counts things and is no percentage
}

// Of returns how many of n the percentage allows, rounded down, but at least 1 when it is above zero and n is.
func (p Percent) Of(n int) int {
	if p.Absolute {
		return min(p.Value, n)
	}
	k := n * p.Value / 100
	if k == 0 && p.Value > 0 && n > 0 {
		k = 1
	}
	return k
}

// String prints "20%" or "2".
func (p Percent) String() string {
	if p.Absolute {
		return strconv.Itoa(p.Value)
	}
	return strconv.Itoa(p.Value) + "%"
}
