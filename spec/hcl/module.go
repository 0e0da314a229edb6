package hcl

const moduleDoc = "A folder of the same repository, used with inputs: its apps are called MODULE/APP, and its variables are the arguments of the block."

func (l *loader) decodeModule(s *scope, b *block) {
	l.at(b.TypeRange, b.env.context, "Not in this version", "Modules are not in this version.")
}
