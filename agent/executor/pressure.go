package executor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// ReadPressure reads how much was waited, as the kernel's documentation of PSI lays it down: from the files cpu, memory and io of a folder,
// each with a suffix. What is not there is zero.
func ReadPressure(dir, suffix string) spec.Pressure {
	one := func(name string) float64 {
		data, err := os.ReadFile(filepath.Join(dir, name+suffix))
		if err != nil {
			return 0
		}
		return parsePressure(string(data))
	}
	return spec.Pressure{CPU: one("cpu"), Memory: one("memory"), IO: one("io")}
}

// parsePressure reads the average over ten seconds of the line that begins with some.
func parsePressure(text string) float64 {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "some avg10=")
		if !ok {
			continue
		}
		value, _, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			return n
		}
	}
	return 0
}
