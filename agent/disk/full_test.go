package disk

import "testing"

// What a task has is thrown away only if it has nothing left to go on with: of 100 GiB, 1 GiB is something.
func TestFullIsAFewBlocks(t *testing.T) {
	const mebibyte, gibibyte = 1 << 20, 1 << 30
	for _, c := range []struct {
		limit, used int64
		full        bool
	}{
		{100 * gibibyte, 99 * gibibyte, false},
		{100 * gibibyte, 100*gibibyte - mebibyte, false},
		{100 * gibibyte, 100*gibibyte - mebibyte + 4096, true},
		{120 * mebibyte, 119*mebibyte - 64<<10, false},
		{mebibyte, mebibyte - 16<<10, false},
		{mebibyte, mebibyte - 4096, true},
		{4096, 0, false},
		{4096, 4096, true},
		{0, gibibyte, false},
	} {
		q := diskQuota{hard: uint64(c.limit) / 1024, space: uint64(c.used)}
		if got := q.full(); got != c.full {
			t.Errorf("%d of %d bytes: full is %v", c.used, c.limit, got)
		}
	}
	if q := (diskQuota{inodesHard: 10, inodes: 10}); !q.full() {
		t.Error("no file is left, and it is not full")
	}
}
