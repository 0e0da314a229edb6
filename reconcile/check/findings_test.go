package check_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// found is everything that the lints said in this run of the tests.
var found []check.Violation

// lint is check.Plan, and remembers what was found.
func lint(in reconcile.Input, p spec.Plan, r reconcile.Report) []check.Violation {
	list := check.Plan(in, p, r)
	found = append(found, list...)
	return list
}

// TestMain wants every finding of every lint to have been seen by the time all tests have run: a lint that nobody has
// seen bite may be unable to.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""; code == 0 && all {
		unseen, err := unseenFindings()
		if err != nil {
			fmt.Println(err)
			code = 1
		}
		for _, s := range unseen {
			fmt.Println("no test breaks a plan so that a lint says: " + s)
			code = 1
		}
	}
	os.Exit(code)
}

// unseenFindings reads the sources of the lints, and returns the rules and texts that no violation was like.
func unseenFindings() (unseen []string, err error) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 3 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "report" {
				return true
			}
			if rule, text := literal(call.Args[0]), literal(call.Args[2]); !seen(rule, text) {
				unseen = append(unseen, name+": "+rule+": "+text)
			}
			return true
		})
	}
	return unseen, nil
}

func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(l.Value)
	return s
}

var verb = regexp.MustCompile(`%\+?[a-z]`)

func seen(rule, text string) bool {
	parts := verb.Split(text, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	like := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
	for _, v := range found {
		if v.Rule == rule && like.MatchString(v.Detail) {
			return true
		}
	}
	return false
}
