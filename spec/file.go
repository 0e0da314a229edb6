package spec

// FileKind is what a File is.
type FileKind string

// The kinds of files.
const (
	FileRegular FileKind = "file"
	FileFolder  FileKind = "folder"
	FileLink    FileKind = "link"
	FileOther   FileKind = "other" // a device, pipe or socket
)

// File is a file, folder or link in the file system of a task.
type File struct {
	Name     string   `json:"name"` // the last part of its path
	Kind     FileKind `json:"kind"`
	Mode     uint32   `json:"mode"` // the twelve bits of permissions, as chmod(1) counts them
	Size     Bytes    `json:"size"`
	Modified Time     `json:"modified,omitempty"`
	UID      uint32   `json:"uid"` // as the node counts, also where the task has users of its own
	GID      uint32   `json:"gid"`
	Target   string   `json:"target,omitempty"` // of a link, as it stands there
	// Entries of a folder, by name; More says that there are others.
	Entries []File `json:"entries,omitempty"`
	More    bool   `json:"more,omitempty"`
}

// Unpacked is what became of an archive that was unpacked in a task.
type Unpacked struct {
	Files int   `json:"files"` // folders and links included
	Bytes Bytes `json:"bytes"`
	// Refused are entries that were left out, with the reason, as sentences.
	Refused []string `json:"refused,omitempty"`
}
