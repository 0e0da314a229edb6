package hcl

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// fileFunctionDocs describes the functions that read files of the repository.
var fileFunctionDocs = map[string]string{
	"file":         "the text of a file of the repository; the path counts from the folder of the file it is written in, or with \"/\" in front from the repository's root",
	"filebase64":   "a file of the repository as Base64",
	"fileexists":   "whether the repository holds a file",
	"filesha256":   "SHA-256 of a file of the repository, in hexadecimal",
	"templatefile": "a file of the repository as a template, filled in with a map of names",
}

// fileFunctions are the functions of one *.hcl file: paths count from its folder.
func fileFunctions(m *meter, fsys fs.FS, from string) map[string]function.Function {
	load := func(name string) ([]byte, error) {
		b, err := repositoryFile(fsys, from, name)
		if err == nil && !m.charge(len(b), 1+len(b)>>10) {
			err = errors.New("the limit for evaluating this commit is reached")
		}
		return b, err
	}
	return map[string]function.Function{
		"file": textFunction(func(name string) (string, error) {
			b, err := load(name)
			if err == nil && !utf8.Valid(b) {
				err = fmt.Errorf("the file %q is no UTF-8 text; filebase64 reads any file", name)
			}
			return string(b), err
		}),
		"filebase64": textFunction(func(name string) (string, error) {
			b, err := load(name)
			return base64.StdEncoding.EncodeToString(b), err
		}),
		"filesha256": textFunction(func(name string) (string, error) {
			b, err := load(name)
			h := sha256.Sum256(b)
			return hex.EncodeToString(h[:]), err
		}),
		"fileexists": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Bool),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				m.charge(0, 1)
				full, err := repositoryPath(from, args[0].AsString())
				if err != nil {
					return cty.NilVal, err
				}
				_, info, err := resolve(fsys, full)
				if errors.Is(err, errLeaves) {
					return cty.NilVal, leaves(args[0].AsString())
				}
				return cty.BoolVal(err == nil && info.Mode().IsRegular()), nil
			},
		}),
		"templatefile": templateFile(m, load),
	}
}

func leaves(name string) error {
	return fmt.Errorf("the path %q leaves the repository; only its files can be read", shorten(name, 100))
}

// repositoryPath turns a path as written into one from the repository's root.
func repositoryPath(from, name string) (string, error) {
	full := path.Join(path.Dir(from), name)
	if rest, ok := strings.CutPrefix(name, "/"); ok {
		full = path.Clean(rest)
	}
	if full == ".." || strings.HasPrefix(full, "../") || len(full) > 4096 || strings.ContainsRune(full, 0) {
		return "", leaves(name)
	}
	return full, nil
}

// repositoryFile reads a file, links followed within the repository only.
func repositoryFile(fsys fs.FS, from, name string) ([]byte, error) {
	full, err := repositoryPath(from, name)
	if err != nil {
		return nil, err
	}
	shown := shorten(name, 100)
	real, info, err := resolve(fsys, full)
	switch {
	case errors.Is(err, errLeaves):
		return nil, leaves(name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the repository has no file %q (looked for %s)", shown, shorten(full, 200))
	case err != nil:
		return nil, fmt.Errorf("the file %q cannot be read: %v", shown, cause(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is no file", shown)
	}
	b, err := read(fsys, real, MaxFileSize)
	if err != nil {
		return nil, fmt.Errorf("the file %q cannot be read: %v", shown, cause(err))
	}
	if len(b) > MaxFileSize {
		return nil, fmt.Errorf("the file %q has more than %d bytes", shown, MaxFileSize)
	}
	return b, nil
}

// templateFile fills in a file. Templates have all functions that read no files: a template cannot include others, so
// there is no recursion.
func templateFile(m *meter, load func(string) ([]byte, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "names", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			if !isMap(args[1]) {
				return cty.NilVal, function.NewArgErrorf(1, "a map of names is needed, such as { port = 80 }")
			}
			src, err := load(name)
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			var refused error
			g := guard{}
			ok := g.admit(src, name, true, func(r hcl.Range, summary, detail string) {
				refused = fmt.Errorf("%s, line %d: %s", shorten(name, 100), r.Start.Line, detail)
			})
			if !ok {
				return cty.NilVal, function.NewArgError(0, refused)
			}
			m.charge(len(src)*8, g.tokens+g.work/200)
			expr, diags := hclsyntax.ParseTemplate(src, name, hcl.InitialPos)
			if diags.HasErrors() {
				return cty.NilVal, function.NewArgError(0, templateError(name, diags))
			}
			ctx := &hcl.EvalContext{Variables: args[1].AsValueMap(), Functions: pureFunctions(m)}
			v, diags := m.visit(expr).Value(ctx)
			if diags.HasErrors() {
				return cty.NilVal, function.NewArgError(0, templateError(name, diags))
			}
			if !v.IsKnown() {
				return cty.UnknownVal(cty.String), nil
			}
			s, ok := "", false
			if !v.IsNull() {
				s, ok = asText(v)
			}
			if !ok {
				return cty.NilVal, function.NewArgErrorf(0, "the template %q makes no text", shorten(name, 100))
			}
			return cty.StringVal(s), nil
		},
	})
}

// templateError names the place inside the template, in the words of the first error.
func templateError(name string, diags hcl.Diagnostics) error {
	for _, g := range diags {
		if g.Severity == hcl.DiagError && g.Subject != nil {
			_, detail := reword(g)
			return fmt.Errorf("%s, line %d: %s", shorten(name, 100), g.Subject.Start.Line, strings.TrimSuffix(detail, "."))
		}
	}
	return fmt.Errorf("%s: %s", shorten(name, 100), diags.Error())
}
