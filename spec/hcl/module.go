package hcl

import (
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const moduleDoc = "A folder of the same repository, used with inputs: source names the folder, counted from the file it is written in (or from the repository's root, with \"/\" in front); all other arguments are the folder's variables. Its apps are called MODULE/APP. A folder that is a module's source is not read as a part of the followed folder. for_each is taken as in an app."

// moduleFolder returns the folder that a module block names, as a path of the repository, or what is wrong with it.
func moduleFolder(f *source, b *hclsyntax.Block) (folder, wrong string) {
	a := b.Body.Attributes["source"]
	if a == nil {
		return "", "A module needs the argument source: a folder of this repository."
	}
	t, ok := a.Expr.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return "", "source must be a plain text such as \"../modules/shop\": it is read before anything is evaluated."
	}
	folder, err := repositoryPath(f.real, t.Parts[0].(*hclsyntax.LiteralValueExpr).Val.AsString())
	if err != nil {
		return "", sentence(strings.ToUpper(err.Error()[:1]) + err.Error()[1:])
	}
	return folder, ""
}

// divide returns the files of the followed folder that belong to no module.
func (l *loader) divide() []*source {
	l.folders = map[string]bool{}
	l.noteModules(l.sources)
	return l.without(l.sources, "")
}

// noteModules remembers which folders the module blocks of some files name.
func (l *loader) noteModules(files []*source) {
	for _, f := range files {
		for _, b := range f.body.Blocks {
			if b.Type != "module" {
				continue
			}
			if folder, wrong := moduleFolder(f, b); wrong == "" && !strings.HasPrefix(f.real, folder+"/") && folder != "." {
				l.folders[folder] = true
			}
		}
	}
}

// without leaves out the files of modules that lie below a folder.
func (l *loader) without(files []*source, folder string) []*source {
	var out []*source
next:
	for _, f := range files {
		for dir := path.Dir(f.real); dir != "." && dir != folder; dir = path.Dir(dir) {
			if l.folders[dir] {
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

// moduleFiles returns the parsed files of a module, reading them when they lie outside of the followed folder.
func (l *loader) moduleFiles(folder string) []*source {
	var files []*source
	for _, f := range l.sources {
		if strings.HasPrefix(f.real, folder+"/") || folder == "." {
			files = append(files, f)
		}
	}
	if len(files) == 0 && !l.read[folder] {
		if _, info, err := resolve(l.fsys, folder); err != nil || !info.IsDir() {
			return nil
		}
		found, _ := find(l.fsys, folder, l.root, l.complaints)
		l.parse(found)
		l.sources = append(l.sources, found...)
		l.noteModules(found)
		files = found
	}
	if l.read == nil {
		l.read = map[string]bool{}
	}
	l.read[folder] = true
	return l.without(files, folder)
}

// decodeModule decodes the apps of a module with the inputs of this block.
func (l *loader) decodeModule(s *scope, b *block) {
	folder, wrong := moduleFolder(b.env.file, b.Block)
	place := b.placeOf("source")
	switch {
	case wrong != "":
	case folder == "." || strings.HasPrefix(b.env.file.real, folder+"/"):
		wrong = "The module would contain itself. Put it into a folder of its own."
	case s.depth == MaxModuleDepth:
		wrong = fmt.Sprintf("Modules may use modules at most %d deep; perhaps they use one another in a circle.", MaxModuleDepth)
	}
	if wrong != "" {
		l.broken = true
		l.at(place, b.env.context, "Wrong value for source", wrong)
		return
	}
	for _, c := range b.Body.Blocks {
		l.at(c.TypeRange, b.env.context, "Unknown block", "A module block holds arguments only.")
	}
	files := l.moduleFiles(folder)
	if len(files) == 0 {
		l.broken = true
		l.at(place, b.env.context, "Wrong value for source", fmt.Sprintf("The repository has no *.hcl files in the folder %q.", shorten(folder, 200)))
		return
	}
	l.eachInstance(s, b, s.prefix+b.label(0), func(b *block, name string) {
		if l.modules++; l.modules > MaxModules {
			l.broken = true
			l.at(b.place(), b.env.context, "Too many modules", fmt.Sprintf("The commit uses more than %d modules, counted with for_each.", MaxModules))
			return
		}
		inputs := map[string]input{}
		for _, n := range sortedKeys(b.Body.Attributes) {
			if n == "source" || n == "for_each" {
				continue
			}
			a := b.Body.Attributes[n]
			v, ok := l.eval(a.Expr, b.env)
			if !ok && !v.IsNull() {
				v = cty.DynamicVal
			}
			inputs[n] = input{a, v, b.env}
		}
		l.decodeScope(l.newScope(l.fsys, files, name+"/", s.depth+1, inputs))
	})
}

// decodeScope decodes what may stand in a module.
func (l *loader) decodeScope(s *scope) {
	if !l.meter.charge(200*(1+len(s.variables)+len(s.locals)), 1+len(s.variables)+len(s.locals)) {
		return
	}
	for _, f := range s.sources {
		l.checkTop(f, s)
	}
	for _, kind := range []string{"app", "framework", "module"} {
		l.decodeBlocks(s, kind)
	}
}
