package image

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// counter counts what is read, and stops when the context does.
type counter struct {
	reader io.Reader
	ctx    context.Context
	bytes  int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.reader.Read(p)
	c.bytes += int64(n)
	return n, err
}

// ratioGuard fails when a stream becomes larger than allowed, absolutely or compared to what it was compressed to.
type ratioGuard struct {
	reader io.Reader
	in     *counter
	limits Limits
	bytes  int64
}

func (g *ratioGuard) Read(p []byte) (int, error) {
	n, err := g.reader.Read(p)
	g.bytes += int64(n)
	if g.bytes > g.limits.LayerBytes {
		return n, fmt.Errorf("the layer is larger than %d bytes", g.limits.LayerBytes)
	}
	if g.bytes > g.limits.RatioFloor && g.bytes/g.limits.Ratio > g.in.bytes {
		return n, fmt.Errorf("the layer expands more than %d times: this looks like a decompression bomb", g.limits.Ratio)
	}
	return n, err
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// zstdWindow is the most memory that decoding a zstd stream may take, in bytes: what "zstd --ultra -22" needs.
const zstdWindow = 128 << 20

// Decompress finds out how r is compressed, by its first bytes, as media types are often wrong. The returned function
// frees what decoding holds; it does not close r.
func Decompress(r io.Reader) (io.Reader, func(), error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("read layer: %w", err)
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, fmt.Errorf("decompress gzip: %w", err)
		}
		return z, func() { z.Close() }, nil
	case bytes.Equal(magic, zstdMagic):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fmt.Errorf("decompress zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return buffered, func() {}, nil
}

func compressed(magic []byte) bool {
	return bytes.HasPrefix(magic, gzipMagic) || bytes.HasPrefix(magic, zstdMagic)
}
