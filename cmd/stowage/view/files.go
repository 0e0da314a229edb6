package view

import (
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"github.com/stowage/stowage/spec"
)

// Folder prints the entries of a folder, or the one file that it is.
func (p *Page) Folder(f *spec.File) {
	list := f.Entries
	if f.Kind != spec.FileFolder {
		list = []spec.File{*f}
	}
	rows := make([][]string, len(list))
	for i := range list {
		one := &list[i]
		rows[i] = []string{modeWord(one), fmt.Sprintf("%d:%d", one.UID, one.GID), fmt.Sprint(int64(one.Size)), moment(one.Modified), nameWord(one)}
	}
	if len(rows) == 0 {
		p.Line("The folder is empty.")
		return
	}
	p.Table([]string{"MODE", "OWNER", "SIZE", "MODIFIED", "NAME"}, rows)
	if f.More {
		p.Line("… and more: the folder has more entries than are listed")
	}
}

// File prints what is known of a file.
func (p *Page) File(f *spec.File) {
	p.pairs([][2]string{{"name", nameWord(f)}, {"kind", string(f.Kind)}, {"mode", fmt.Sprintf("%04o (%s)", f.Mode, modeWord(f))}, {"owner", fmt.Sprintf("%d:%d", f.UID, f.GID)},
		{"size", fmt.Sprint(int64(f.Size))}, {"modified", moment(f.Modified)}})
}

func moment(t spec.Time) string { return time.Unix(0, int64(t)).UTC().Format("2006-01-02 15:04:05Z") }

// modeWord is the mode as ls(1) shows it.
func modeWord(f *spec.File) string {
	mode := fs.FileMode(f.Mode & 0o777)
	text := []byte(mode.String())
	text[0] = map[spec.FileKind]byte{spec.FileFolder: 'd', spec.FileLink: 'l', spec.FileOther: '?'}[f.Kind]
	if text[0] == 0 {
		text[0] = '-'
	}
	for _, special := range []struct {
		bit   uint32
		at    int
		names string
	}{{0o4000, 3, "sS"}, {0o2000, 6, "sS"}, {0o1000, 9, "tT"}} {
		if f.Mode&special.bit != 0 {
			if text[special.at] == 'x' {
				text[special.at] = special.names[0]
			} else {
				text[special.at] = special.names[1]
			}
		}
	}
	return string(text)
}

// nameWord is a name as it can be shown: a task may give a file any, also one that moves the cursor.
func nameWord(f *spec.File) string {
	name := printable(f.Name)
	if f.Kind == spec.FileLink {
		name += " -> " + printable(f.Target)
	}
	return name
}

func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
