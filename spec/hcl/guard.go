package hcl

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// guard counts what the parser is given over all files of a commit.
type guard struct {
	tokens   int
	elements int // of lists and maps, counted by their commas
	work     int // of joining the lines of long texts, which the parser does anew for each line
}

// admit looks at a file before the parser may: it must be text of a sane size, and so shaped that neither the parser nor
// an evaluation recurses deeply. It uses the lexer of HCL itself, which does not recurse, so that it sees strings,
// heredocs, comments and templates exactly as the parser will. It reports and returns false when the parser must not
// see the file.
func (g *guard) admit(src []byte, filename string, template bool, complain func(r hcl.Range, summary, detail string)) bool {
	point := func(offset int) hcl.Range {
		line := 1 + bytes.Count(src[:offset], []byte("\n"))
		start := bytes.LastIndexByte(src[:offset], '\n') + 1
		pos := hcl.Pos{Line: line, Column: 1 + utf8.RuneCount(src[start:offset]), Byte: offset}
		return hcl.Range{Filename: filename, Start: pos, End: pos}
	}
	switch {
	case len(src) > MaxFileSize:
		complain(point(0), "File too large", fmt.Sprintf("The file has %d bytes; at most %d are read. Split it.", len(src), MaxFileSize))
		return false
	case bytes.HasPrefix(src, []byte("\xEF\xBB\xBF")):
		complain(point(0), "Byte order mark", "The file begins with a byte order mark. Save it as UTF-8 without one.")
		return false
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		complain(point(i), "Not a text file", "The file holds a zero byte, so it is no text. Save it as UTF-8, or give it another ending than .hcl.")
		return false
	}
	if i := invalidUTF8(src); i >= 0 {
		complain(point(i), "Not a text file", "The file is not UTF-8 from here on. Save it as UTF-8, or give it another ending than .hcl.")
		return false
	}
	signs := 0
	for _, c := range src {
		if c < '0' && c != ' ' || c > '9' && c < 'A' || c > 'Z' && c < 'a' && c != '_' || c > 'z' && c < 0x80 {
			signs++
		}
	}
	if signs > MaxFileTokens+MaxFileTokens/3 { // even the lexer would need hundreds of bytes for each
		complain(point(0), "File too large", fmt.Sprintf("The file has %d signs besides letters and digits; at most %d are read. Split it.", signs, MaxFileTokens+MaxFileTokens/3))
		return false
	}
	var list hclsyntax.Tokens
	if template {
		list, _ = hclsyntax.LexTemplate(src, filename, hcl.InitialPos)
	} else {
		list, _ = hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	}
	if len(list) > MaxFileTokens {
		complain(list[MaxFileTokens].Range, "File too large", fmt.Sprintf("The file has %d words and signs; at most %d are read. Split it.", len(list), MaxFileTokens))
		return false
	}
	if g.tokens += len(list); g.tokens > MaxTotalTokens {
		complain(point(0), "Too much text", fmt.Sprintf("From this file on, the folder holds more than %d words and signs. Follow a subfolder, or make more with for_each.", MaxTotalTokens))
		return false
	}
	return g.shape(list, complain)
}

func invalidUTF8(src []byte) int {
	if utf8.Valid(src) {
		return -1
	}
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// level is an open bracket while shape walks the tokens.
type level struct {
	open      hclsyntax.TokenType
	operators int  // since the last comma or end of line at this level
	lines     bool // an end of line ends an expression here
	parts     int  // of a text: its lines and references
}

// shape bounds the depth of brackets and the length of operator chains.
func (g *guard) shape(list hclsyntax.Tokens, complain func(r hcl.Range, summary, detail string)) bool {
	levels := []level{{lines: true}}
	for i, t := range list {
		top := &levels[len(levels)-1]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			if t.Type == hclsyntax.TokenOBrack || t.Type == hclsyntax.TokenOParen || t.Type == hclsyntax.TokenTemplateControl {
				top.operators++ // a[b][c] and %{ if } are trees as deep as the chain is long
			}
			levels = append(levels, level{open: t.Type, lines: t.Type == hclsyntax.TokenOBrace && !startsFor(list[i+1:])})
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			if len(levels) > 1 && closes(levels[len(levels)-1].open, t.Type) {
				levels = levels[:len(levels)-1]
			}
		case hclsyntax.TokenComma:
			top.operators = 0
			if g.elements++; g.elements > MaxTotalElements {
				complain(t.Range, "Too much text", fmt.Sprintf("Up to here lists and maps have more than %d elements written out. Put data into files and read these with file or csvdecode, or make it with for.", MaxTotalElements))
				return false
			}
		case hclsyntax.TokenNewline:
			if top.lines {
				top.operators = 0
			}
		case hclsyntax.TokenNumberLit:
			if !saneNumber(t.Bytes) {
				complain(t.Range, "Number out of range", "This number has too many digits or too large an exponent. Write a smaller one.")
				return false
			}
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit:
			top.parts++
			if g.work += top.parts; g.work > MaxTextWork {
				complain(t.Range, "Text too long", "Up to here the texts over many lines are too long. Put them into files and read these with file.")
				return false
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenComment, hclsyntax.TokenEOF:
		default:
			top.operators++
		}
		if len(levels) > MaxDepth+1 {
			complain(t.Range, "Nested too deeply", fmt.Sprintf("Brackets, blocks and templates may stand in one another at most %d deep. Flatten this, for example with locals.", MaxDepth))
			return false
		}
		if levels[len(levels)-1].operators > MaxOperators {
			complain(t.Range, "Expression too long", fmt.Sprintf("An expression may have at most %d operators in a row. Split it, for example with locals.", MaxOperators))
			return false
		}
	}
	return true
}

// closes says whether a closing token ends what an opening one began. A stray closing bracket leaves the level open:
// the parser's recovery may count it either way, so the deeper reading is taken.
func closes(open, end hclsyntax.TokenType) bool {
	switch open {
	case hclsyntax.TokenOBrace:
		return end == hclsyntax.TokenCBrace
	case hclsyntax.TokenOBrack:
		return end == hclsyntax.TokenCBrack
	case hclsyntax.TokenOParen:
		return end == hclsyntax.TokenCParen
	case hclsyntax.TokenOQuote:
		return end == hclsyntax.TokenCQuote
	case hclsyntax.TokenOHeredoc:
		return end == hclsyntax.TokenCHeredoc
	}
	return end == hclsyntax.TokenTemplateSeqEnd
}

// startsFor reports whether the tokens after an opening brace begin a for expression, in which line ends mean nothing.
func startsFor(list hclsyntax.Tokens) bool {
	for _, t := range list {
		switch t.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenComment:
			continue
		}
		return t.Type == hclsyntax.TokenIdent && string(t.Bytes) == "for"
	}
	return false
}

// saneNumber refuses numbers as written whose decimal digits would fill memory.
func saneNumber(b []byte) bool {
	if len(b) > MaxNumberLength {
		return false
	}
	i := bytes.IndexAny(b, "eE")
	if i < 0 {
		return true
	}
	exponent := bytes.TrimLeft(bytes.TrimLeft(b[i+1:], "+-"), "0")
	return len(exponent) < 3 || len(exponent) == 3 && string(exponent) <= "300"
}
