package spec

import (
	"strings"
	"testing"
)

func TestParseImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	for text, want := range map[string]string{ // the reference in full, or words of the error
		"nginx":                              "docker.io/library/nginx:latest",
		"nginx:1.25":                         "docker.io/library/nginx:1.25",
		"nginx@" + digest:                    "docker.io/library/nginx@" + digest,
		"nginx:1.25@" + digest:               "docker.io/library/nginx:1.25@" + digest,
		"team/web":                           "docker.io/team/web:latest",
		"docker.io/nginx":                    "docker.io/library/nginx:latest",
		"index.docker.io/library/nginx:1":    "docker.io/library/nginx:1",
		"localhost/web:1":                    "localhost/web:1",
		"localhost:5000/web":                 "localhost:5000/web:latest",
		"reg.example:5000/a/b_c/d-e.f:v1.0_": "reg.example:5000/a/b_c/d-e.f:v1.0_",
		"127.0.0.1:5000/web:1":               "127.0.0.1:5000/web:1",
		"[::1]:5000/web:1":                   "[::1]:5000/web:1",
		"a--b__c/d":                          "docker.io/a--b__c/d:latest",

		"":                                  "lower-case",
		"Nginx":                             "lower-case",
		"nginx:":                            "tag",
		"nginx:" + strings.Repeat("a", 129): "tag",
		"nginx:a/b":                         "no host",
		"nginx@sha256:12":                   "digest",
		"nginx@" + strings.ToUpper(digest):  "digest",
		"nginx@sha512:" + strings.Repeat("0f", 64): "digest",
		"../etc":             "no host",
		"reg.example/../x":   "lower-case",
		"reg.example//x":     "lower-case",
		"/x":                 "lower-case",
		"reg.example/":       "lower-case",
		"reg_x.example/a":    "registry",
		"reg.example:port/a": "registry",
		"user@reg.example/a": "digest",
		"reg.example/a b":    "lower-case",
		"reg.example/" + strings.Repeat("a", 256): "lower-case",
		"https://reg.example/a":                   "registry",
	} {
		got, err := ParseImage(text)
		switch {
		case err == nil && got.String() != want:
			t.Errorf("%q is %q, want %q", text, got, want)
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v, want %q", text, err, want)
		case err == nil:
			if again, err := ParseImage(got.String()); err != nil || again != got {
				t.Errorf("%q in full is %+v, %v; want %+v", text, again, err, got)
			}
		}
	}
}

func TestPinImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	a := &App{Tasks: []Task{{Image: "web:1"}, {Image: "oci:x"}, {Image: "other:1@" + digest}, {Image: "web:1"}, {Rootfs: RootfsHost}, {Image: "https://x/y.tar"}, {Image: "new:1"}}}
	if got := strings.Join(a.Unpinned(), " "); got != "web:1 new:1" {
		t.Errorf("unpinned are %q", got)
	}
	if a.PinImages(map[string]string{"old:1": digest}) != a {
		t.Error("it was copied though nothing changes")
	}
	p := a.PinImages(map[string]string{"web:1": digest})
	if p.Tasks[0].Image != "web:1@"+digest || p.Tasks[3].Image != "web:1@"+digest || a.Tasks[0].Image != "web:1" || p.Tasks[2].Image != a.Tasks[2].Image {
		t.Errorf("got %+v of %+v", p.Tasks, a.Tasks)
	}
	if got := strings.Join(p.Pulled(), " "); got != "web:1@"+digest+" other:1@"+digest+" new:1" {
		t.Errorf("pulled are %q", got)
	}
	if p.Hash() == a.Hash() || p.RuntimeHash() == a.RuntimeHash() {
		t.Error("another image is the same version")
	}
}
