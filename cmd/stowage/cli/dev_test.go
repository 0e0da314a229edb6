package cli

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A second stowage dev leaves the credentials of the first where they are, at its end too, and says how to reach it; those of
// one that is gone it replaces.
func TestASecondDevLeavesTheFirstItsCredentials(t *testing.T) {
	for name, c := range map[string]struct{ status, left int }{"runs": {http.StatusOK, 1}, "gone": {http.StatusUnauthorized, 0}} {
		first := fakeMaster(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "{}")
		})
		second := filepath.Join(t.TempDir(), "second.json")
		if err := os.WriteFile(second, []byte("second"), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		home := t.TempDir()
		d := &dev{shell: &shell{World: World{Stdout: &out, Env: []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}}}}
		file := filepath.Join(d.home(), "dev.json")
		if err := copyFile(first, file); err != nil {
			t.Fatal(err)
		}
		if err := d.leaveCredentials(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(out.String(), "--credentials "+second); said != (c.left == 1) {
			t.Errorf("%s: it said %q", name, out.String())
		}
		if err := d.removeCredentials(); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(file); err != nil || len(left) != c.left {
			t.Errorf("%s: %v are left (%v)", name, left, err)
		}
	}
}
