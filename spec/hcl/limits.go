package hcl

// The limits on what is read and evaluated. Those on apps, allocations and counts are in package spec.
const (
	// MaxFileSize of one *.hcl file, and of a file read by file or templatefile, in bytes.
	MaxFileSize = 1 << 20
	// MaxTotalSize of all *.hcl files of a commit, in bytes.
	MaxTotalSize = 16 << 20
	// MaxTotalTokens of all *.hcl files of a commit: each costs about 100 bytes of memory while its file is parsed, and
	// a part of that until the commit is decoded. It is enough for over 10,000 apps written out; for_each makes more.
	MaxTotalTokens = 2_000_000
	// MaxTotalElements of lists and maps written out in a commit: the densest text there is, in memory.
	MaxTotalElements = 100_000
	// MaxFileTokens of one file.
	MaxFileTokens = 300_000
	// MaxFiles that a commit may hold, *.hcl or not, below the followed folder.
	MaxFiles = 100_000
	// MaxFolderDepth below the followed folder.
	MaxFolderDepth = 32
	// MaxDepth of brackets, blocks and templates in one another. The parser recurses; past a few hundred thousand levels
	// it would end the process in a way that no recover catches.
	MaxDepth = 64
	// MaxOperators in one expression at one depth, for the same reason: a chain of operators is a deep tree.
	MaxOperators = 500
	// MaxTextWork bounds the texts over many lines of a commit: half the sum of the squares of their lines, since the parser
	// takes time in proportion. One text of 20,000 lines fits, or a hundred of 2,000.
	MaxTextWork = 200_000_000
	// MaxNumberLength of a number as written.
	MaxNumberLength = 64
	// MaxNumberBits bounds the exponent of a computed number: 2^1024 is the end of float64.
	MaxNumberBits = 1024
	// MaxLocals and variables of one scope.
	MaxLocals = 20_000
	// MaxModules instantiated by one commit, and MaxModuleDepth of modules in modules.
	MaxModules     = 1_000
	MaxModuleDepth = 8
	// MaxDiagnostics reported of one commit; the rest is counted.
	MaxDiagnostics = 500
	// MaxEvaluatedBytes is what the expressions of a commit may build in all.
	MaxEvaluatedBytes = 160 << 20
	// MaxSteps of evaluation in all: iterations, and elements looked at by functions.
	MaxSteps = 3_000_000
	// MaxSnippet is the longest source line that a diagnostic quotes, in bytes.
	MaxSnippet = 2000
)
