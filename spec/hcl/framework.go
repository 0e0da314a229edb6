package hcl

const frameworkDoc = "Apps that a driver runs. The driver's schema decides what may stand in the block."

func (l *loader) decodeFramework(s *scope, b *block) {
}
