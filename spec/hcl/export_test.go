package hcl

// WithBudget makes evaluation end earlier, so that a fuzzer does not spend its time on files that multiply.
func WithBudget(o Options, bytes, steps int) Options {
	o.budget = meter{bytes: bytes, steps: steps}
	return o
}
