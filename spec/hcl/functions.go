package hcl

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// entry is one function of the language.
type entry struct {
	doc  string
	call function.Function
	// light functions look at a part of their arguments only, and do not pay for all of it.
	light bool
	// guard refuses arguments whose result would be out of proportion to them.
	guard func(args []cty.Value) error
}

// MaxGrowth is the most that one call of a function may build, in bytes or elements.
const MaxGrowth = 8 << 20

// pure are the functions without access to files. There is no clock, random, network or environment among them.
var pure = map[string]entry{
	// strings
	"chomp":       {doc: "removes newlines at the end", call: stdlib.ChompFunc},
	"endswith":    {doc: "whether a text ends with another", call: textTest(strings.HasSuffix)},
	"format":      {doc: "builds a text by a format such as \"%s-%03d\"", call: stdlib.FormatFunc, guard: guardFormat},
	"formatlist":  {doc: "format for each element of lists", call: stdlib.FormatListFunc, guard: guardFormatList},
	"indent":      {doc: "indents all lines but the first", call: stdlib.IndentFunc, guard: guardIndent},
	"join":        {doc: "joins the elements of a list by a separator", call: stdlib.JoinFunc, guard: guardJoin},
	"lower":       {doc: "lower case", call: stdlib.LowerFunc},
	"regex":       {doc: "what a regular expression (RE2) finds first", call: stdlib.RegexFunc},
	"regexall":    {doc: "all that a regular expression (RE2) finds", call: stdlib.RegexAllFunc},
	"replace":     {doc: "replaces a part of a text, or what a /regular expression/ finds", call: replace},
	"split":       {doc: "splits a text at a separator", call: stdlib.SplitFunc},
	"startswith":  {doc: "whether a text begins with another", call: textTest(strings.HasPrefix)},
	"strcontains": {doc: "whether a text holds another", call: textTest(strings.Contains)},
	"strrev":      {doc: "a text backwards", call: stdlib.ReverseFunc},
	"substr":      {doc: "a part of a text by offset and length", call: stdlib.SubstrFunc},
	"title":       {doc: "each word with a capital", call: stdlib.TitleFunc},
	"trim":        {doc: "removes given characters from both ends", call: stdlib.TrimFunc},
	"trimprefix":  {doc: "removes a text from the beginning", call: stdlib.TrimPrefixFunc},
	"trimspace":   {doc: "removes white space from both ends", call: stdlib.TrimSpaceFunc},
	"trimsuffix":  {doc: "removes a text from the end", call: stdlib.TrimSuffixFunc},
	"upper":       {doc: "upper case", call: stdlib.UpperFunc},

	// collections
	"alltrue":         {doc: "whether all elements are true", call: every(true)},
	"anytrue":         {doc: "whether any element is true", call: every(false)},
	"chunklist":       {doc: "cuts a list into lists of a length", call: stdlib.ChunklistFunc},
	"coalesce":        {doc: "the first argument that is neither null nor empty", call: coalesce},
	"coalescelist":    {doc: "the first list that is not empty", call: stdlib.CoalesceListFunc},
	"compact":         {doc: "a list of texts without null and empty ones", call: stdlib.CompactFunc},
	"concat":          {doc: "joins lists", call: stdlib.ConcatFunc},
	"contains":        {doc: "whether a list holds a value", call: stdlib.ContainsFunc},
	"distinct":        {doc: "a list without repetitions", call: distinct},
	"element":         {doc: "an element by its number, counting on round the end", call: stdlib.ElementFunc, light: true},
	"flatten":         {doc: "lists in lists as one list", call: stdlib.FlattenFunc},
	"index":           {doc: "the number of a value in a list", call: index},
	"keys":            {doc: "the keys of a map, sorted", call: stdlib.KeysFunc},
	"length":          {doc: "how many elements, or characters", call: length, light: true},
	"lookup":          {doc: "the value of a key, or a default", call: stdlib.LookupFunc, light: true},
	"merge":           {doc: "maps in one; later ones win", call: stdlib.MergeFunc},
	"one":             {doc: "the only element, or null", call: onlyOne},
	"range":           {doc: "a list of numbers, at most 1024", call: stdlib.RangeFunc},
	"reverse":         {doc: "a list backwards", call: stdlib.ReverseListFunc},
	"setintersection": {doc: "what is in all sets", call: stdlib.SetIntersectionFunc},
	"setproduct":      {doc: "all combinations of the elements of lists", call: stdlib.SetProductFunc, guard: guardProduct},
	"setsubtract":     {doc: "what is in the first set only", call: stdlib.SetSubtractFunc},
	"setunion":        {doc: "what is in any of the sets", call: stdlib.SetUnionFunc},
	"slice":           {doc: "a part of a list", call: stdlib.SliceFunc},
	"sort":            {doc: "a list of texts in order", call: stdlib.SortFunc},
	"sum":             {doc: "the sum of a list of numbers", call: sum},
	"values":          {doc: "the values of a map, in the order of its keys", call: stdlib.ValuesFunc},
	"zipmap":          {doc: "a map of a list of keys and a list of values", call: stdlib.ZipmapFunc},

	// numbers
	"abs":      {doc: "a number without its sign", call: stdlib.AbsoluteFunc},
	"ceil":     {doc: "rounds up", call: stdlib.CeilFunc},
	"floor":    {doc: "rounds down", call: stdlib.FloorFunc},
	"log":      {doc: "the logarithm to a base", call: stdlib.LogFunc},
	"max":      {doc: "the largest", call: stdlib.MaxFunc},
	"min":      {doc: "the smallest", call: stdlib.MinFunc},
	"parseint": {doc: "reads a whole number in a base", call: stdlib.ParseIntFunc, guard: guardParseInt},
	"pow":      {doc: "a power", call: stdlib.PowFunc},
	"signum":   {doc: "-1, 0 or 1", call: stdlib.SignumFunc},

	// types
	"can":      {doc: "whether an expression can be evaluated", call: tryfunc.CanFunc, light: true},
	"try":      {doc: "the first expression that can be evaluated", call: tryfunc.TryFunc, light: true},
	"tobool":   {doc: "converts to true or false", call: stdlib.MakeToFunc(cty.Bool)},
	"tolist":   {doc: "converts to a list", call: stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType))},
	"tomap":    {doc: "converts to a map", call: stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType))},
	"tonumber": {doc: "converts to a number", call: stdlib.MakeToFunc(cty.Number)},
	"toset":    {doc: "converts to a set", call: stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType))},
	"tostring": {doc: "converts to a text", call: stdlib.MakeToFunc(cty.String)},

	// encoding and hashing
	"base64decode": {doc: "decodes Base64", call: base64decode},
	"base64encode": {doc: "encodes as Base64", call: base64encode},
	"base64sha256": {doc: "SHA-256 as Base64", call: hash64},
	"csvdecode":    {doc: "a list of maps from CSV", call: stdlib.CSVDecodeFunc},
	"jsondecode":   {doc: "a value from JSON", call: stdlib.JSONDecodeFunc, guard: guardJSON},
	"jsonencode":   {doc: "JSON of a value", call: stdlib.JSONEncodeFunc},
	"md5":          {doc: "MD5 in hexadecimal", call: hashMD5},
	"sha1":         {doc: "SHA-1 in hexadecimal", call: hashSHA1},
	"sha256":       {doc: "SHA-256 in hexadecimal", call: hashSHA256},
	"sha512":       {doc: "SHA-512 in hexadecimal", call: hashSHA512},
	"urlencode":    {doc: "encodes for a URL's query", call: urlencode},

	// paths
	"basename": {doc: "the last part of a path", call: basename},
	"dirname":  {doc: "a path without its last part", call: dirname},
}

// functionNames are the names of all functions, sorted.
var functionNames = slices.Sorted(maps.Keys(allFunctions()))

// allFunctions tells name and description of every function.
func allFunctions() map[string]string {
	out := map[string]string{}
	for name, e := range pure {
		out[name] = e.doc
	}
	for name, doc := range fileFunctionDocs {
		out[name] = doc
	}
	return out
}

// pureFunctions returns the functions, each paying for what it looks at.
func pureFunctions(m *meter) map[string]function.Function {
	out := make(map[string]function.Function, len(pure))
	for name, e := range pure {
		out[name] = e.metered(m)
	}
	return out
}

// metered wraps the function: guard first, then pay for the arguments. The result is paid for by the expression.
func (e entry) metered(m *meter) function.Function {
	if e.light && e.guard == nil {
		return e.call
	}
	f := e.call
	return function.New(&function.Spec{
		Description: e.doc, Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := e.admit(m, args); err != nil {
				return cty.DynamicPseudoType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

func (e entry) admit(m *meter, args []cty.Value) error {
	for _, a := range args {
		if !m.chargeValue(a) {
			return fmt.Errorf("the limit for evaluating this commit is reached")
		}
	}
	if e.guard == nil || slices.ContainsFunc(args, func(a cty.Value) bool { return !a.IsWhollyKnown() || a.IsNull() || a.IsMarked() }) {
		return nil
	}
	return e.guard(args)
}

func tooLarge(n int) error {
	return fmt.Errorf("the result would be too large: about %d bytes or elements, and at most %d are allowed", n, MaxGrowth)
}

func bound(factors ...int) error {
	product := 1
	for _, f := range factors {
		if f > 0 && product > MaxGrowth/f {
			return tooLarge(MaxGrowth)
		}
		product *= f
	}
	return nil
}

func textLength(v cty.Value) int {
	if v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		return len(v.AsString())
	}
	return 0
}

var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{4,}`)

func guardFormat(args []cty.Value) error {
	if args[0].Type() == cty.String && wideVerb.MatchString(args[0].AsString()) {
		return fmt.Errorf("widths and precisions go up to 999")
	}
	longest := 512
	for _, a := range args[1:] {
		longest = max(longest, textLength(a))
	}
	return bound(strings.Count(args[0].AsString(), "%")+1, longest)
}

func guardFormatList(args []cty.Value) error {
	if err := guardFormat(args[:1]); err != nil {
		return err
	}
	rows := 1
	for _, a := range args[1:] {
		if isList(a) {
			rows = max(rows, a.LengthInt())
		}
	}
	return bound(rows, textLength(args[0])+512)
}

func guardIndent(args []cty.Value) error {
	n, _ := args[0].AsBigFloat().Int64()
	if n < 0 || n > 1000 {
		return fmt.Errorf("a text can be indented by 0 to 1000 spaces")
	}
	return bound(strings.Count(args[1].AsString(), "\n")+1, int(n)+1)
}

func guardJoin(args []cty.Value) error {
	n := 0
	for _, a := range args[1:] {
		n += a.LengthInt()
	}
	return bound(n+1, textLength(args[0])+1)
}

func guardProduct(args []cty.Value) error {
	sizes := []int{64}
	for _, a := range args {
		if isList(a) {
			sizes = append(sizes, a.LengthInt())
		}
	}
	return bound(sizes...)
}

func guardParseInt(args []cty.Value) error {
	if args[0].Type() == cty.String && textLength(args[0]) > MaxNumberLength {
		return fmt.Errorf("a number may have up to %d digits", MaxNumberLength)
	}
	return nil
}

// guardJSON bounds depth and numbers: the decoder recurses, and 1e999999999 is a short way to write much.
func guardJSON(args []cty.Value) error {
	text, depth, quoted := args[0].AsString(), 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("lists and objects nest more than %d deep", MaxDepth)
			}
		case c == ']' || c == '}':
			depth--
		case c == 'e' || c == 'E':
			j := i + 1
			for j < len(text) && strings.IndexByte("+-0", text[j]) >= 0 {
				j++
			}
			k := j
			for k < len(text) && text[k] >= '0' && text[k] <= '9' {
				k++
			}
			if k-j > 3 || k-j == 3 && text[j:k] > "300" {
				return fmt.Errorf("a number is out of range")
			}
		}
	}
	return nil
}
