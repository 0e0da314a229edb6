package place

// Looks returns how many nodes the searches of a fleet have looked at.
func (f *Fleet) Looks() int {
	n := 0
	for k := range f.indexes { // any order: a sum
		n += k.order.looks
	}
	return n
}
