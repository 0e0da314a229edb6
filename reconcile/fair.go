package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/rollout"
)

// roles is who has how much.
type roles struct{}

func (w *world) newRoles() *roles { return &roles{} }

func (r *roles) room(j *job, steps []*rollout.Step) int { return len(steps) }

func (r *roles) take(j *job, s *rollout.Step) {}

// placeFairly places the jobs that can start now.
func (w *world) placeFairly(jobs []*job) {
	slices.SortStableFunc(jobs, byImportance)
	for _, j := range jobs {
		for _, s := range w.placeJob(j) {
			j.x.missed = append(j.x.missed, *s)
		}
	}
}
