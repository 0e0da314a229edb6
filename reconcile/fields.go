package reconcile

import "github.com/stowage/stowage/spec"

func (w *world) fields(x *app) []spec.FieldChange { return nil }
