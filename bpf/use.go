package bpf

import (
	"bytes"
	"strings"
)

// What bpftool writes around the arrays. A header that uses them otherwise may load another
// program, or this one unsigned, and the arrays would say nothing of it.

// load is the function of a skeleton that loads it, up to the call, as bpftool has written it
// since Linux 6.18. Formatting makes no difference.
const load = `{
	struct bpf_load_and_run_opts opts = {};
	int err;
	static const char opts_data[] __attribute__((__aligned__(8))) = "";
	static const char opts_insn[] __attribute__((__aligned__(8))) = "";
	static const char opts_sig[] __attribute__((__aligned__(8))) = "";
	static const char opts_excl_hash[] __attribute__((__aligned__(8))) = "";
	opts.signature = (void *)opts_sig;
	opts.signature_sz = sizeof(opts_sig) - 1;
	opts.excl_prog_hash = (void *)opts_excl_hash;
	opts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;
	opts.keyring_id = skel->keyring_id;
	opts.ctx = (struct bpf_loader_ctx *)skel;
	opts.data_sz = sizeof(opts_data) - 1;
	opts.data = (void *)opts_data;
	opts.insns_sz = sizeof(opts_insn) - 1;
	opts.insns = (void *)opts_insn;
	err = bpf_load_and_run(&opts);
	if (err < 0)
		return err;`

// maxWords bounds what a header is taken apart into: a skeleton has some hundreds of words, and
// some dozens more for each of its maps and programs.
const maxWords = 1 << 20

// checkUse returns an error for a header that does not use its arrays as bpftool does: one
// function X__load with the text of load, and nothing else that names what it has.
func (s *scanner) checkUse() error {
	if at := bytes.IndexByte(s.source, 0); at >= 0 {
		return s.errorf(at, "a zero byte")
	}
	if at := bytes.Index(s.source, []byte("??")); at >= 0 {
		return s.errorf(at, "two question marks, which some compilers take for another sign")
	}
	words, err := s.words()
	if err != nil {
		return err
	}
	expected, err := (&scanner{source: []byte(load)}).words()
	if err != nil {
		return err
	}
	text, want := " "+strings.Join(words, " ")+" ", " "+strings.Join(expected, " ")+" "
	before, _, found := strings.Cut(text, want)
	head := strings.Fields(before[max(0, len(before)-maxHead):]) // ... X__load ( struct X * skel )
	if !found || len(head) < 7 || !isLoad(head[len(head)-7:]) {
		return &SyntaxError{Reason: "its function that loads it is not as bpftool writes it"}
	}
	count := map[string]int{}
	for _, word := range words {
		count[word]++
	}
	for _, word := range expected {
		switch {
		case !strings.HasPrefix(word, "opts") && !strings.HasPrefix(word, "bpf_load_and_run"):
		case count[word] != strings.Count(want, " "+word+" "):
			return &SyntaxError{Reason: word + " is named in more places than bpftool writes"}
		}
	}
	return nil
}

// maxHead is more than the head of a function has, in bytes.
const maxHead = 4096

// isLoad tells the head of the function by its last words.
func isLoad(head []string) bool {
	return head[1] == "(" && head[2] == "struct" && head[0] == head[3]+"__load" && head[4] == "*" && head[5] == "skel" && head[6] == ")"
}

// words are the words and signs of the header, any string as "". Preprocessor lines are looked
// at and left out.
func (s *scanner) words() (words []string, err error) {
	s.at = 0
	var lines directives
	for start := s.next(); start < len(s.source); start = s.next() {
		if s.source[start] == '#' {
			if err := lines.add(s.directive(), len(words) == 0); err != "" {
				return nil, s.errorf(start, "%s", err)
			}
			continue
		}
		if !lines.codeMayFollow() {
			return nil, s.errorf(start, "code that the preprocessor may leave out")
		}
		if err := s.token(); err != nil {
			return nil, err
		}
		word := string(s.source[start:s.at])
		switch last := len(words) - 1; {
		case word == "%" || word == "\\" || word[0] >= 0x80:
			return nil, s.errorf(start, "a sign that bpftool does not write") // %: is #
		case word[0] == '"' && start > 0 && isWord(s.source[start-1]):
			return nil, s.errorf(start, "a string with a prefix")
		case word[0] == '"' && last >= 0 && words[last] == `""`:
			continue // C joins them
		case word[0] == '"':
			word = `""`
		case word == ">" && last >= 0 && words[last] == "-":
			words[last] = "->"
			continue
		}
		if words = append(words, word); len(words) > maxWords {
			return nil, s.errorf(start, "too many words for a skeleton")
		}
	}
	return words, nil
}

// directives are the preprocessor lines so far: a guard around all else, and what bpftool
// writes besides, which hides nothing and defines nothing that the rest knows.
type directives struct {
	guard string
	open  int // conditions in the guard
	ended bool
}

// add returns what is wrong with the next line. first says that only such lines came before.
func (d *directives) add(line string, first bool) (wrong string) {
	name, isGuard := strings.CutPrefix(line, "#ifndef ")
	switch {
	case d.ended:
		return "a preprocessor line behind the last #endif"
	case isGuard && first && d.guard == "":
		d.guard = name
	case d.guard != "" && first && line == "#define "+d.guard:
	case line == "#include <bpf/skel_internal.h>", line == `#include "skel_internal.h"`, line == "#pragma once":
	case line == "#ifdef __cplusplus":
		d.open++
	case d.open > 0 && (line == "#define _Static_assert static_assert" || line == "#undef _Static_assert"):
	case d.open > 0 && line == "#endif":
		d.open--
	case d.guard != "" && line == "#endif":
		d.ended = true
	default:
		return "a preprocessor line that bpftool does not write"
	}
	return ""
}

func (d *directives) codeMayFollow() bool { return d.open == 0 && !d.ended }

// directive reads a preprocessor line, and leaves out its comment and what space there is too
// much.
func (s *scanner) directive() string {
	line := s.source[s.at:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	s.at += len(line)
	text := string(line)
	if before, comment, found := strings.Cut(text, "/*"); found && strings.Count(comment, "*/") == 1 && strings.HasSuffix(strings.TrimSpace(comment), "*/") {
		text = before
	}
	return "#" + strings.Join(strings.Fields(strings.TrimPrefix(text, "#")), " ")
}
