package cron

import (
	_ "embed" // for the rules of the time zones
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// zones are the rules of all time zones: a ZIP archive that stores its files as they are. It is the one that comes with
// the Go compiler (lib/time/zoneinfo.zip), kept here so that what a commit means depends on neither the compiler nor the
// machine: see docs/decisions.
//
//go:embed zoneinfo.zip
var zones string

// MaxZoneLength bounds the name of a time zone, in bytes.
const MaxZoneLength = 64

// Zone returns the time zone of that name; "" is UTC. The name's case counts. It reads nothing of the machine's.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	data, ok := "", false
	if len(name) <= MaxZoneLength && !strings.HasSuffix(name, "/") {
		data, ok = stored(zones, name)
	}
	if !ok {
		return nil, fmt.Errorf("there is no time zone %q: %w", shorten(name), errZone)
	}
	loc, err := time.LoadLocationFromTZData(name, []byte(data))
	if err != nil {
		return nil, fmt.Errorf("the time zone %q cannot be read: %w", name, err)
	}
	return loc, nil
}

func shorten(name string) string {
	if len(name) > MaxZoneLength {
		return name[:MaxZoneLength] + "…"
	}
	return name
}

// Sizes and places within a ZIP archive (APPNOTE.TXT, 4.3.7, 4.3.12 and 4.3.16).
const (
	tailSize  = 22 // of the end record of an archive without a remark
	entrySize = 46 // of an entry of the directory, without its name
	fileSize  = 30 // of the head of a file, without its name
)

// stored finds a file that an archive holds without compression. It looks through the directory and copies nothing, so
// that a zone costs microseconds and needs no memory between two calls.
func stored(archive, name string) (string, bool) {
	if len(archive) < tailSize {
		return "", false
	}
	tail := archive[len(archive)-tailSize:]
	entries, at := number(tail, 10, 2), number(tail, 16, 4)
	for range entries {
		if at+entrySize > len(archive) {
			return "", false
		}
		e := archive[at:]
		length, skip := number(e, 28, 2), number(e, 30, 2)+number(e, 32, 2)
		if at+entrySize+length > len(archive) {
			return "", false
		}
		if e[entrySize:entrySize+length] == name && number(e, 10, 2) == 0 {
			size, head := number(e, 24, 4), number(e, 42, 4)
			if head+fileSize > len(archive) {
				return "", false
			}
			from := head + fileSize + number(archive[head:], 26, 2) + number(archive[head:], 28, 2)
			if from+size > len(archive) {
				return "", false
			}
			return archive[from : from+size], true
		}
		at += entrySize + length + skip
	}
	return "", false
}

// number reads a little-endian number of two or four bytes.
func number(text string, at, size int) int {
	b := []byte(text[at : at+size])
	if size == 2 {
		return int(binary.LittleEndian.Uint16(b))
	}
	return int(binary.LittleEndian.Uint32(b))
}
