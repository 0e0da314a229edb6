package artifact

import "github.com/stowage/stowage/spec"

// The deeds of a helper.
const (
	deedDownload = "download"
	deedUnpack   = "unpack"
	deedClone    = "clone"
)

// request is what a helper is asked for, as JSON on its standard input.
type request struct {
	Deed string `json:"deed"`
	URL  string `json:"url,omitempty"`
	// Headers, and the credentials that the node has for the host of URL.
	Headers  map[string]string `json:"headers,omitempty"`
	User     string            `json:"user,omitempty"`
	Password string            `json:"password,omitempty"`
	Bearer   string            `json:"bearer,omitempty"`
	Agent    string            `json:"agent,omitempty"` // User-Agent
	// Resume says that what the file has already is the beginning of what is wanted.
	Resume bool `json:"resume,omitempty"`
	// Most bounds the download, or what is unpacked, in bytes.
	Most int64 `json:"most"`

	Format spec.ArtifactFormat `json:"format,omitempty"`
	Strip  int                 `json:"strip,omitempty"`
	Name   string              `json:"name,omitempty"` // of a single file
	Mode   uint32              `json:"mode,omitempty"` // of a single file

	// Commit, Ref and Folder of a repository; Commit "" with deedClone: whatever Ref means.
	Commit string `json:"commit,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Folder string `json:"folder,omitempty"`
}

// formatPack is the format of what deedClone brings.
const formatPack spec.ArtifactFormat = "pack"

// report is a line that a helper says, as JSON on descriptor 4: how far it is, and at last how it went.
type report struct {
	Have  int64 `json:"have,omitempty"`  // bytes
	Total int64 `json:"total,omitempty"` // bytes; 0: not known
	Done  bool  `json:"done,omitempty"`
	// Commit that was fetched.
	Commit string `json:"commit,omitempty"`
	// Err is a sentence; "" with Done: all went well.
	Err string `json:"err,omitempty"`
}

// The descriptors of a helper beside the standard ones.
const (
	fileFD   = 3
	reportFD = 4
)

// Limits of a helper.
const (
	// helperID is the first of helperIDs users and groups of helpers: ones that no account has, below those of user namespaces. No two helpers of an
	// agent have the same at once.
	helperID  = 0x6fff_f000
	helperIDs = 0x1000
	// helperMemory bounds what a helper may allocate, in bytes: the largest window of zstd (128 MiB) and the directory of a zip archive of a
	// million files fit well.
	helperMemory = 1 << 30
	// groupMemory bounds what all helpers have together, in bytes, with what the kernel keeps of their files: room for unpackers that have all they may.
	groupMemory = unpackers*helperMemory + 512<<20
	// unpackers is how many helpers unpack at once: what they need is decided by what comes from outside.
	unpackers = 2
	// helperFiles bounds its open files: the connections of a download among them.
	helperFiles = 128
	// maxEntries of an archive, and maxErrText of an error that is passed on, in bytes.
	maxEntries = 1_000_000
	maxErrText = 1000
)
