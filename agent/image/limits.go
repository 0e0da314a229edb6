package image

import "time"

// Limits bound what an image may cost the node. Each is checked while unpacking, before the cost arises.
type Limits struct {
	LayerBytes   int64         // bytes of one layer after decompression, tar headers included
	LayerEntries int           // tar entries of one layer, and folders made on the way to them
	LayerSteps   int           // folders looked into, to find the place of all entries of a layer
	Layers       int           // layers of one image
	Ratio        int64         // decompressed bytes for each compressed byte, counted once a layer exceeds RatioFloor
	RatioFloor   int64         // bytes of a layer that are never held against it as a bomb
	NameBytes    int           // bytes of one name or link target
	NameDepth    int           // path components of one name
	FolderNames  int64         // bytes of the names of all folders of one layer, which are held in memory while unpacking
	ArchiveBytes int64         // bytes of a downloaded or decompressed archive
	Document     int64         // bytes of a manifest, index or configuration
	Stall        time.Duration // how long a download may bring nothing; a slow one is no error
}

// DefaultLimits are far above what honest images need, and low enough that a hostile one cannot take a node down.
var DefaultLimits = Limits{
	LayerBytes:   32 << 30,
	LayerEntries: 1_000_000,
	LayerSteps:   20_000_000, // twenty an entry; honest archives come folder by folder and need one or two
	Layers:       120,        // of 27 bytes each in an overlay mount option, which the kernel cuts off at 4,096
	Ratio:        200,        // text and zeros of real layers stay below 100; gzip reaches 1,032, zstd far more
	RatioFloor:   256 << 20,
	NameBytes:    4095, // PATH_MAX less its final zero
	NameDepth:    256,  // folders on the way to one entry are open while it is unpacked
	FolderNames:  64 << 20,
	ArchiveBytes: 64 << 30,
	Document:     4 << 20, // what registries accept
	Stall:        30 * time.Second,
}

// maxComponent is the longest file name Linux takes, in bytes.
const maxComponent = 255

// maxLinks is how many symbolic links are followed on the way to one entry: as many as Linux follows.
const maxLinks = 40

// maxIndexDepth is how deep an index may point to another index. Nobody needs more than two.
const maxIndexDepth = 4
