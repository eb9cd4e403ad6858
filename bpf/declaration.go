package bpf

// Declarations of global variables, as libbpf's btf_dump writes them from BTF. The space between
// words and signs has no meaning there, so it is not looked at.

// maxNesting is how deep declarations may nest.
const maxNesting = 100

// members reads declarations on lines of their own.
func (r *reader) members() {
	for r.skip("\t\t") {
		r.declaration(0)
		r.text("\n")
	}
}

// declaration reads a member of a structure.
func (r *reader) declaration(depth int) {
	r.typeAndName(depth)
	if r.sign(":") {
		r.space()
		r.number()
	}
	r.demand(";")
}

func (r *reader) typeAndName(depth int) {
	r.typeName(depth)
	r.declarator(depth)
}

func (r *reader) typeName(depth int) {
	if depth > maxNesting {
		r.fail(r.at, "declarations nest too deep")
	}
	r.qualifiers()
	switch {
	case r.keyword("struct", "union"):
		if r.sign("{") {
			for r.err == nil && !r.sign("}") {
				r.declaration(depth + 1)
			}
			r.sign("__attribute__((packed))")
		} else {
			r.name()
		}
	case r.keyword("enum"):
		if r.sign("{") {
			r.enumerators()
		} else {
			r.name()
		}
	case r.arithmetic():
		for r.arithmetic() {
		}
	default:
		r.name()
	}
	r.qualifiers()
}

// arithmetic skips a word of a type's name that may have several, as long unsigned int has.
func (r *reader) arithmetic() bool {
	return r.keyword("char", "short", "int", "long", "signed", "unsigned", "__int128", "float", "double")
}

func (r *reader) qualifiers() {
	for r.keyword("const", "volatile", "restrict") {
	}
}

// enumerators reads what follows enum {.
func (r *reader) enumerators() {
	for r.err == nil && !r.sign("}") {
		r.name()
		r.demand("=")
		r.sign("-")
		r.space()
		r.number()
		if !r.skip("ULL") {
			r.skip("LL")
		}
		r.demand(",")
	}
	if !r.sign("__attribute__((mode(byte)))") {
		r.sign("__attribute__((mode(word)))")
	}
}

// declarator reads a name with what says that it is a pointer, an array, or a pointer to a
// function. It may lack the name, as a parameter may.
func (r *reader) declarator(depth int) {
	if depth > maxNesting {
		r.fail(r.at, "declarations nest too deep")
	}
	for r.sign("*") {
		r.qualifiers()
	}
	switch {
	case r.sign("("):
		r.space()
		if !r.is("*") {
			r.fail(r.at, "bpftool writes a pointer here")
		}
		r.declarator(depth + 1)
		r.demand(")")
		if r.sign("(") {
			r.parameters(depth + 1)
		}
	case r.err == nil && r.at < len(r.source) && isWord(r.source[r.at]):
		r.name()
	}
	for r.sign("[") {
		r.space()
		r.number()
		r.demand("]")
	}
}

// parameters reads those of a function, up to the bracket.
func (r *reader) parameters(depth int) {
	for r.err == nil && !r.sign("...") {
		r.typeAndName(depth)
		if !r.sign(",") {
			break
		}
	}
	r.demand(")")
}

// space skips what is between words and signs.
func (r *reader) space() {
	for r.skip(" ") || r.skip("\t") || r.skip("\n") {
	}
}

// sign skips a sign, if it comes next, and the space around it.
func (r *reader) sign(text string) bool {
	r.space()
	found := r.skip(text)
	if found {
		r.space()
	}
	return found
}

// demand skips a sign that has to come next, and the space before it.
func (r *reader) demand(text string) {
	r.space()
	r.text(text)
}

// keyword skips one of some words, if it comes next, and the space around it.
func (r *reader) keyword(words ...string) bool {
	r.space()
	for _, word := range words {
		if end := r.at + len(word); r.is(word) && (end == len(r.source) || !isWord(r.source[end])) {
			r.at = end
			r.space()
			return true
		}
	}
	return false
}
