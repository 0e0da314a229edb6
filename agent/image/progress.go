package image

import (
	"context"
	"fmt"
	"sync"
)

// Progress is how far an image has come that is being pulled.
type Progress struct {
	Layers, Ready int   // layers of the image, and those that are unpacked
	Bytes, Have   int64 // that have to be downloaded, and are
}

// String says so in a few words.
func (p Progress) String() string {
	return fmt.Sprintf("%d of %d layers ready, %s of %s downloaded", p.Ready, p.Layers, rough(p.Have), rough(p.Bytes))
}

// rough prints bytes as a person reads them.
func rough(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// progress is one pull under way.
type progress struct {
	wg sync.WaitGroup // of downloads

	mu     sync.Mutex
	now    Progress
	layers []step
}

// step is one layer of a pull.
type step struct {
	size  int64
	here  chan struct{} // closed when it can be unpacked
	ready bool
}

// begin notes that an image is being pulled.
func (s *Store) begin(digest string, f found, r record) *progress {
	p := &progress{layers: make([]step, len(f.layers))}
	p.now.Layers = len(r.Layers)
	for i, b := range f.layers {
		p.layers[i] = step{size: b.size, here: make(chan struct{})}
		p.now.Bytes += b.size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls[digest] = p
	return p
}

func (s *Store) finish(digest string, p *progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pulls[digest] == p {
		delete(s.pulls, digest)
	}
}

// Progress tells how far the pull of an image has come, by the digest that its reference names; false when there is none under way.
func (s *Store) Progress(digest string) (Progress, bool) {
	s.mu.Lock()
	p := s.pulls[digest]
	s.mu.Unlock()
	if p == nil {
		return Progress{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, true
}

// skip notes that a layer was there before: nothing of it is downloaded.
func (p *progress) skip(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Bytes -= p.layers[i].size
	close(p.layers[i].here)
}

func (p *progress) has(i int) bool {
	select {
	case <-p.layers[i].here:
		return true
	default:
		return false
	}
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Have += n
}

func (p *progress) complete(i int) { close(p.layers[i].here) }

func (p *progress) unpacked(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.layers[i].ready {
		p.layers[i].ready = true
		p.now.Ready++
	}
}

// arrived waits until a layer can be unpacked.
func (p *progress) arrived(ctx context.Context, i int) error {
	select {
	case <-p.layers[i].here:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
