package hcl

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var artifactTable = &table[spec.Artifact]{
	doc: "Something that the node fetches into the task before it starts: a file, what is in an archive, or what a Git repository has at a commit. The label is where in the task it goes.",
	defaults: func() spec.Artifact {
		return spec.Artifact{Deadline: spec.DefaultArtifactDeadline}
	},
	args: []argument[spec.Artifact]{
		arg("source", fetched, func(a *spec.Artifact) *string { return &a.Source }, "URL of a file or an archive: https, or http where a checksum in the commit says which bytes it has"),
		arg("checksum", artifactChecksum, func(a *spec.Artifact) *string { return &a.Checksum }, "What the bytes behind source must have: \"sha256:…\", \"sha512:…\", or \"file:URL\" of a list of checksums. \"none\" takes any, so that one commit may mean several things"),
		arg("format", oneOf(spec.FormatFile, spec.FormatTar, spec.FormatZip, spec.FormatGzip), func(a *spec.Artifact) *spec.ArtifactFormat { return &a.Format },
			"What is done with it. file: kept as it is. tar (plain, or compressed by gzip or zstd) and zip: unpacked. gz: a single file, decompressed. Without it the name in the URL tells"),
		arg("strip", whole(0, spec.MaxArtifactStrip), func(a *spec.Artifact) *int { return &a.Strip }, "How many leading folders of the names in an archive are left out, as tar --strip-components does"),
		arg("mode", artifactMode, func(a *spec.Artifact) *uint32 { return &a.Mode }, "Permissions of a single file, in octal: \"0755\" for a program"),
		arg("headers", headers, func(a *spec.Artifact) *map[string]string { return &a.Headers }, "Headers of the requests for source, such as { Accept = \"application/octet-stream\" }. No other host gets them"),
		arg("git", fetched, func(a *spec.Artifact) *string { return &a.Git }, "URL of a Git repository in place of source: https, or http. Its branches are fetched without the git program, and without submodules"),
		arg("commit", commitHash, func(a *spec.Artifact) *string { return &a.Commit }, "The commit of the repository, in full. Without it the ref is taken as it is when an allocation begins, which checksum = \"none\" has to agree to"),
		arg("ref", gitRef, func(a *spec.Artifact) *string { return &a.Ref }, "A branch or tag of the repository. With commit: where to look for it, if the server gives no single commits"),
		arg("folder", gitFolder, func(a *spec.Artifact) *string { return &a.Folder }, "The folder of the repository that is wanted; all of it when not written"),
		arg("deadline", duration, func(a *spec.Artifact) *spec.Duration { return &a.Deadline }, "How long one attempt to fetch and unpack it may take"),
	},
	check: checkArtifact,
}

// fetched is a URL that a node fetches from.
var fetched = kind[string]{
	name: "URL",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String {
			return "", mustBe(`a URL such as "https://example.com/app.tar.gz"`, v)
		}
		s := v.AsString()
		if err := checkText(s); err != nil {
			return "", err
		}
		if err := spec.CheckSource(s); err != nil {
			return "", wrong(fmt.Sprintf("cannot be fetched: %s", shorten(err.Error(), 300)))
		}
		return s, nil
	},
	show: quoteIfSet,
}

var commitHash = checkedText("a commit", spec.CheckCommit)

var gitRef = checkedText("a branch or tag", spec.CheckRef)

var gitFolder = kind[string]{
	name: "text",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String {
			return "", mustBe(`a folder such as "site"`, v)
		}
		s := strings.Trim(v.AsString(), "/")
		if !insideRepository(s) {
			return "", wrong(fmt.Sprintf("must name a folder inside the repository, but here it is %q", shorten(v.AsString(), 100)))
		}
		if s = path.Clean(s); s == "." {
			s = ""
		}
		return s, checkText(s)
	},
	show: quoteIfSet,
}

// checkedText is a text that a check has to let pass.
func checkedText(what string, check func(string) error) kind[string] {
	return kind[string]{
		name: "text",
		read: func(v cty.Value) (string, error) {
			if v.Type() != cty.String {
				return "", mustBe(what, v)
			}
			s := v.AsString()
			if err := check(s); err != nil {
				return "", wrong(fmt.Sprintf("is %q: %s", shorten(s, 60), err))
			}
			return s, nil
		},
		show: quoteIfSet,
	}
}

var artifactChecksum = kind[string]{
	name: "text",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String {
			return "", mustBe(`a checksum such as "sha256:…"`, v)
		}
		s := v.AsString()
		if err := checkText(s); err != nil {
			return "", err
		}
		s, err := spec.ParseChecksum(s)
		if err != nil {
			return "", wrong(fmt.Sprintf("is no checksum: %s", shorten(err.Error(), 300)))
		}
		return s, nil
	},
	show: quoteIfSet,
}

// artifactMode are permissions without the bits that give power to whoever runs the file.
var artifactMode = kind[uint32]{
	name: fileMode.name,
	read: func(v cty.Value) (uint32, error) {
		m, err := fileMode.read(v)
		if err == nil && m > 0o777 {
			return 0, wrong(fmt.Sprintf("is \"%04o\", but a file that is fetched never runs as another user: leave these bits out", m))
		}
		return m, err
	},
	show: func(m uint32) string {
		if m == 0 {
			m = spec.DefaultArtifactMode
		}
		return fmt.Sprintf("\"%04o\"", m)
	},
}

// noDestination are folders of a task that nothing is laid into: they are the container's own.
var noDestination = []string{"/proc", "/sys", "/dev"}

// programFolders of a task on the root of its node show the node's programs, read-only, over everything else.
var programFolders = regexp.MustCompile(`^/(bin|sbin|lib[^/]*|usr)(/|$)`)

func addArtifact(d *decoder, b *block, t *spec.Task, a spec.Artifact) {
	written := b.label(0)
	a.Destination = path.Clean(written)
	if strings.HasSuffix(written, "/") && a.Format.Single() && a.Git == "" {
		name := spec.BaseOf(a.Source)
		if a.Format == spec.FormatGzip {
			name = strings.TrimSuffix(name, path.Ext(name))
		}
		if a.Destination = path.Join(a.Destination, name); name == "" && b.sound("source") {
			d.at(b.place(), b.env.context, "Wrong path", "The URL tells no name for the file. Write the whole path of the file, without the \"/\" at its end.")
			return
		}
	}
	wrongPath := func(detail string) { d.at(b.place(), b.env.context, "Wrong path", detail) }
	inside := func(p string) bool { return a.Destination == p || strings.HasPrefix(a.Destination, p+"/") }
	switch {
	case !spec.CleanTarget(a.Destination) || slices.Contains(strings.Split(written, "/"), ".."):
		wrongPath(fmt.Sprintf("An artifact goes to an absolute path below \"/\" of the task, without \"..\", but here it is %q.", shorten(written, 60)))
		return
	case len(a.Destination) > spec.MaxRepository:
		wrongPath(fmt.Sprintf("The path has more than %d bytes. Choose a shorter one.", spec.MaxRepository))
		return
	case slices.ContainsFunc(noDestination, inside):
		wrongPath(fmt.Sprintf("/proc, /sys and /dev belong to the container itself, so nothing can be laid to %s. Choose another path.", shorten(a.Destination, 60)))
		return
	case len(t.Artifacts) == spec.MaxArtifacts:
		d.at(b.place(), b.env.context, "Too many artifacts", fmt.Sprintf("A task has at most %d artifacts. Pack some of them together.", spec.MaxArtifacts))
		return
	}
	for _, o := range t.Artifacts {
		if o.Destination == a.Destination {
			d.at(b.place(), b.env.context, "Duplicate artifact", fmt.Sprintf("The task has an artifact at %s already. Remove one of them, or give it another path.", shorten(a.Destination, 60)))
			return
		}
	}
	t.Artifacts = append(t.Artifacts, a)
	slices.SortFunc(t.Artifacts, func(x, y spec.Artifact) int { return strings.Compare(x.Destination, y.Destination) })
}

func checkArtifact(d *decoder, b *block, a *spec.Artifact) {
	complain := func(of, summary, detail string) { d.at(b.placeOf(of), b.env.context, summary, detail) }
	switch {
	case b.has("git") && b.has("source"):
		complain("git", "Two sources", "An artifact has source or git, not both. Remove one.")
		return
	case b.has("git"):
		checkGitArtifact(b, a, complain)
		return
	case !b.has("source"):
		d.at(b.place(), b.env.context, "Missing argument", "An artifact needs the argument source, the URL that it is fetched from, or git, that of a repository.")
		return
	}
	for _, n := range []string{"commit", "ref", "folder"} {
		if b.has(n) && b.sound(n) {
			complain(n, "Argument without effect", fmt.Sprintf("A file or archive has no %s. Remove it, or write git in place of source.", n))
		}
	}
	if !b.sound("source") {
		return
	}
	if a.Format == "" && b.sound("format") {
		f, err := spec.FormatByName(a.Source)
		if err != nil {
			complain("source", "Unknown archive", fmt.Sprintf("An archive that ends in %s.", shorten(err.Error(), 300)))
			return
		}
		a.Format = f
	}
	plain := strings.HasPrefix(a.Source, "http://")
	switch {
	case !b.sound("checksum"):
	case !b.has("checksum"):
		d.at(b.place(), b.env.context, "Missing argument", "An artifact needs the argument checksum, so that a commit means one thing: checksum = \"sha256:…\", as sha256sum FILE prints it. checksum = \"none\" takes whatever is there.")
	case a.Unchecked() && plain:
		complain("checksum", "Wrong value for checksum", "Over http anybody on the way can exchange the file, so checksum = \"none\" is not taken. Write its checksum, or fetch it by https.")
	case strings.HasPrefix(a.ChecksumURL(), "http://"):
		complain("checksum", "Wrong value for checksum", "Over http anybody on the way can exchange the list of checksums together with the file. Fetch it by https, or write the checksum itself.")
	}
	single := a.Format.Single()
	switch {
	case single && a.Strip > 0 && b.sound("strip"):
		complain("strip", "Argument without effect", "A single file has no leading folders. Remove strip, or write format = \"tar\" or \"zip\" if it is an archive.")
	case !single && a.Mode != 0 && b.sound("mode"):
		complain("mode", "Argument without effect", "The files of an archive have the permissions that it says. Remove mode, or write format = \"file\".")
	}
	if a.Deadline <= 0 && b.sound("deadline") {
		complain("deadline", "Wrong value for deadline", "It must be more than nothing, such as \"10m\".")
	}
}

// checkGitArtifact checks one that comes from a repository.
func checkGitArtifact(b *block, a *spec.Artifact, complain func(of, summary, detail string)) {
	for _, n := range []string{"format", "strip", "mode", "headers"} {
		if b.has(n) && b.sound(n) {
			complain(n, "Argument without effect", fmt.Sprintf("What comes from a repository has its files as they are there. Remove %s.", n))
		}
	}
	if !b.sound("git", "commit", "checksum") {
		return
	}
	switch {
	case b.has("commit") && b.has("checksum"):
		complain("checksum", "Argument without effect", "The commit says which files these are. Remove checksum.")
	case b.has("commit"):
	case !b.has("checksum"):
		complain("git", "Missing argument", "An artifact from a repository needs the argument commit, so that it means one thing: its hash in full, as git rev-parse prints it. checksum = \"none\" takes what ref has at the moment.")
	case !a.Unchecked():
		complain("checksum", "Wrong value for checksum", "A repository has no checksum, but commits. Write commit, or checksum = \"none\" to take what ref has at the moment.")
	case strings.HasPrefix(a.Git, "http://"):
		complain("checksum", "Wrong value for checksum", "Over http anybody on the way can exchange the files, so checksum = \"none\" is not taken. Write commit, or fetch by https.")
	}
	if a.Deadline <= 0 && b.sound("deadline") {
		complain("deadline", "Wrong value for deadline", "It must be more than nothing, such as \"10m\".")
	}
}

// artifactPlace is where an artifact was written, or its task where a dynamic block made it.
func (d *decoder) artifactPlace(b *block, destination string) hcl.Range {
	for _, c := range b.Body.Blocks {
		if c.Type == "artifact" && len(c.Labels) == 1 && (path.Clean(c.Labels[0]) == destination || path.Clean(c.Labels[0]) == path.Dir(destination)) {
			return (&block{Block: c, env: b.env}).place()
		}
	}
	return b.place()
}

// checkArtifacts checks what a task fetches against the rest of it.
func (d *decoder) checkArtifacts(b *block, t *spec.Task) {
	for _, a := range t.Artifacts {
		place := d.artifactPlace(b, a.Destination)
		if t.Rootfs == spec.RootfsHost && programFolders.MatchString(a.Destination) {
			d.at(place, b.env.context, "Wrong path", fmt.Sprintf("With rootfs = \"host\" the programs of the node lie over %s, and nothing of it would be seen. Choose another path, such as /opt.", shorten(a.Destination, 60)))
		}
		for _, m := range t.Tmpfs {
			if a.Destination == m.Target || strings.HasPrefix(a.Destination, m.Target+"/") {
				d.at(place, b.env.context, "Wrong path", fmt.Sprintf("The tmpfs at %s lies over it, and nothing of it would be seen. Choose another path.", shorten(m.Target, 60)))
			}
		}
		if t.Isolation.ReadOnlyRoot && (a.Destination == "/tmp" || strings.HasPrefix(a.Destination, "/tmp/")) {
			d.at(place, b.env.context, "Wrong path", "With read_only_root the task has a /tmp in memory, which would lie over it. Choose another path.")
		}
	}
}
