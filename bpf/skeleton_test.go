package bpf_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sign-file/bpf"
	"sign-file/test/testenv"
)

// goldens are the signed headers that bpftools have made.
func goldens(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../testdata/bpf/*.lskel.h")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d headers, %v", len(paths), err)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return strings.Contains(path, "unsigned") })
}

// skelInternal is in the place of libbpf's bpf/skel_internal.h: it shows what would be loaded.
const skelInternal = `
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/types.h>
#ifdef __cplusplus
#define _Bool bool
#endif
enum { BPF_TRACE_ITER = 28 };
struct entry { int number; struct entry *next; };
typedef struct { int x; } point;
typedef int (*callback)(const char *name, unsigned long long *, ...);
struct bpf_map_desc { int map_fd; __u32 max_entries; __aligned_u64 initial_value; };
struct bpf_prog_desc { int prog_fd; };
struct bpf_loader_ctx { __u32 sz, flags; };
struct bpf_load_and_run_opts {
	struct bpf_loader_ctx *ctx;
	const void *data, *insns, *signature, *excl_prog_hash;
	__u32 data_sz, insns_sz, signature_sz, excl_prog_hash_sz;
	__s32 keyring_id;
};
static inline void *skel_alloc(size_t size) { return calloc(1, size); }
static inline void skel_free(void *p) { free(p); }
static inline void skel_free_map_data(void *p, __u64 addr, size_t size) { free(p); }
static inline void *skel_prep_map_data(const void *value, size_t size, size_t value_size) { return memcpy(calloc(1, size), value, value_size); }
static inline void *skel_finalize_map_data(__u64 *value, size_t size, int flags, int fd) { return (void *)(long)*value; }
static inline int skel_protect_map_data(void *p, __u64 *value, size_t size) { return 0; }
static inline int skel_closenz(int fd) { return fd; }
static inline int skel_raw_tracepoint_open(const char *name, int fd) { return fd; }
static inline int skel_link_create(int fd, int target, int type) { return fd; }
static inline void show(const void *bytes, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)bytes)[i]);
	printf("\n");
}
static inline int bpf_load_and_run(struct bpf_load_and_run_opts *o)
{
	show(o->insns, o->insns_sz);
	show(o->data, o->data_sz);
	show(o->signature, o->signature_sz);
	show(o->excl_prog_hash, o->excl_prog_hash_sz);
	return 0;
}
`

// loaded is what a program that a compiler makes of a header loads, in hexadecimal.
func loaded(t *testing.T, compiler, header string) (string, error) {
	t.Helper()
	name := regexp.MustCompile(`(\w+)__open_and_load\(`).FindStringSubmatch(header)
	if name == nil {
		t.Fatal("no function that loads")
	}
	dir := t.TempDir()
	source := "main.c"
	if strings.HasSuffix(compiler, "++") {
		source = "main.cc"
	}
	for file, text := range map[string]string{
		"bpf/skel_internal.h": skelInternal,
		"header.h":            header,
		source:                "#include \"header.h\"\nint main(void) { return " + name[1] + "__open_and_load() == NULL; }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "main")
	if out, err := exec.Command(compiler, "-w", "-I", dir, "-o", program, filepath.Join(dir, source)).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	out, err := exec.Command(program).Output()
	return string(out), err
}

// TestCompilers: what is read of a header is what compilers make of it, also after it was
// signed again.
func TestCompilers(t *testing.T) {
	for _, name := range []string{"gcc", "g++", "clang", "clang++"} {
		t.Run(name, func(t *testing.T) {
			compiler := testenv.Tool(t, name)
			for _, path := range goldens(t) {
				source, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				s, err := bpf.ParseSkeleton(source)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				s, err = bpf.ParseSkeleton(s.WithSignature([]byte("\x00\x001another\xff\x00")))
				if err != nil {
					t.Errorf("%s: signed again: %v", path, err)
					continue
				}
				got, err := loaded(t, compiler, string(s.WithSignature(s.Signature)))
				if want := fmt.Sprintf("%x\n%x\n%x\n%x\n", s.Instructions, s.Data, s.Signature, s.ExclusiveHash); err != nil || got != want {
					t.Errorf("%s: %v, loads\n%.300s, and read is\n%.300s", path, err, got, want)
				}
			}
		})
	}
}

// edit replaces text that a header has.
func edit(t testing.TB, header, old, with string) string {
	t.Helper()
	if !strings.Contains(header, old) {
		t.Fatalf("no %q", old)
	}
	return strings.Replace(header, old, with, 1)
}

// TestOtherText: compilers see another program than was signed, or none that is signed, or
// might, where a header is not bpftool's word for word.
func TestOtherText(t *testing.T) {
	source, _ := skeleton(t, "gate-7.3")
	header := string(source)
	replace := func(old, with string) string { return edit(t, header, old, with) }

	const (
		include = "#include <bpf/skel_internal.h>\n"
		guard   = "#ifndef __GATE_SKEL_H__\n#define __GATE_SKEL_H__\n"
		declare = "\tint err;\n\tstatic const char opts_data"
		call    = "\terr = bpf_load_and_run(&opts);\n"
		insns   = `opts_insn[] __attribute__((__aligned__(8))) = "`
		first   = `\xbf\x16\0\0\0\0\0\0\xbf\xa1`
	)
	start := strings.Index(header, "static inline int\ngate__load(")
	end := start + strings.Index(header[start:], "\n}\n") + 3
	before, load, after := header[:start], header[start:end], header[end:]
	around := func(open, close string) string { return before + open + load + close + after }
	// another loads arrays of its own, and has load's names only across lines
	another := strings.NewReplacer("opts_insn", "o_insn", "opts_data", "o_data", "opts_sig", "o_sig", "opts_excl_hash", "o_hash", first, `\xbf\x17\0\0\0\0\0\0\xbf\xa1`,
		"gate__load", "gate_\\\n_load", "bpf_load_and_run", "bpf_\\\nload_and_run", "_opts", "_op\\\nts").Replace(load)
	another = regexp.MustCompile(`\bopts\b`).ReplaceAllString(another, "o")
	otherwise := func(open, close string) string { return before + open + load + close + another + after }
	array := func(with string) string { return replace(first, with) }

	for what, source := range map[string]string{
		// another loader
		"no signature":                replace("\topts.signature = (void *)opts_sig;\n\topts.signature_sz = sizeof(opts_sig) - 1;\n", ""),
		"an empty signature":          replace("opts.signature_sz = sizeof(opts_sig) - 1", "opts.signature_sz = 0"),
		"no exclusive map":            replace("\topts.excl_prog_hash = (void *)opts_excl_hash;\n", ""),
		"data for instructions":       replace("opts.insns = (void *)opts_insn", "opts.insns = (void *)opts_data"),
		"a byte more":                 replace("sizeof(opts_insn) - 1", "sizeof(opts_insn)"),
		"another keyring":             replace("opts.keyring_id = skel->keyring_id", "opts.keyring_id = 1"),
		"set once more":               replace(call, "\topts.insns = evil;\n"+call),
		"by a pointer":                replace(call, "\t*(void **)((char *)&opts + 8) = evil;\n"+call),
		"returned before":             replace(call, "\treturn 0;\n"+call),
		"jumped over":                 replace(declare, "\tint err; goto x;\n\tstatic const char opts_data"),
		"loaded twice":                replace(call, "\tbpf_load_and_run(&other);\n"+call),
		"in another function":         replace("\tskel_free(skel);\n", "\tskel_free(skel);\n\tbpf_load_and_run(skel);\n"),
		"set by another function":     replace("\tif (gate__load(skel)) {", "\tif (gate__lie(skel)) {"),
		"another error":               replace("if (err < 0)\n\t\treturn err", "if (err < 0)\n\t\treturn 0"),
		"another skeleton's name":     replace("gate__load(struct gate *skel)\n", "gate__load(struct door *skel)\n"),
		"no function":                 before + strings.Replace(load, "gate__load", "gate__lie", 1) + after,
		"the function twice":          before + load + load + after,
		"system calls of its own":     around("long syscall(long number, ...) { return 0; }\n", ""),
		"in a function":               around("static inline void f(void)\n{\n", "}\n"),
		"in a namespace":              around("namespace x {\n", "}\n"),
		"in a template":               around("template<class T>\n", ""),
		"in a structure":              around("struct x {\n", "};\n"),
		"of the linker":               around("__attribute__((section(\"x\")))\n", ""),
		"chosen by clang":             around("__attribute__((overloadable,enable_if(1,\"\"))) static int gate__load(struct gate *skel) { return 0; }\n", ""),
		"chosen by g++":               around("static int gate__load(...) { return 0; }\n", ""),
		"renamed by assembler":        around("__asm__(\".set syscall,evil\\n\");\n", ""),
		"renamed by a pragma":         around("_Pragma(\"redefine_extname syscall evil\")\n", ""),
		"before main":                 around("__attribute__((constructor)) static void f(void) {}\n", ""),
		"an instruction of assembler": around("__asm__(\".set opts_insn.0,0\");\n", ""),

		// lines that go on in the next
		"a comment opened across lines":      otherwise("/\\\n*\n", "/**/\n"),
		"with space":                         otherwise("/\\ \n*\n", "/**/\n"),
		"with a form feed":                   otherwise("/\\\f\n*\n", "/**/\n"),
		"with a carriage return":             otherwise("/\\\r\n*\n", "/**/\n"),
		"twice":                              otherwise("/\\\n\\\n*\n", "/**/\n"),
		"a line comment opened across lines": otherwise("/\\\n/ \\\n", ""),
		"a comment closed across lines":      before + "/* *\\\n/\n" + another + "/* */\n/\\\n*\n" + load + "/* */\n" + after,
		"a raw string across lines":          otherwise("static const char x[] = R\\\n\"(\" ;\n", "static const char y[] = \")\" ;\n"),
		"a continued comment":                "// \\ \n" + header,
		"a continued word":                   replace("opts.insns =", "opts.in\\\nsns ="),
		"a continued directive":              replace(include, "#include <bpf/skel_internal.h>\\\n\n"),
		"a directive across lines":           replace(include, include+"#\\\ndefine opts_insn evil\n"),
		"a guard across lines":               replace("#define __GATE_SKEL_H__\n", "#define __GATE_SKEL_H__\\\n opts_insn\n"),
		"a function of the linker":           around("__attribute__((overloadable,enable_if(1,\"\"))) static int bpf_load_and_r\\\nun(struct bpf_load_and_run_o\\\npts *o) { return 0; }\n", ""),

		// arrays
		"a hexadecimal escape across lines":          array(`\xb\` + "\n" + `f\x16\0\0\0\0\0\0\xbf\xa1`),
		"an escape of one digit across lines":        array(`\xbf\x1\` + "\n" + `6\0\0\0\0\0\0\xbf\xa1`),
		"an octal escape across lines":               array(`\xbf\x16\0\` + "\n" + `0\0\0\0\0\0\xbf\xa1`),
		"an escape and CRLF":                         array(`\xbf\x1\` + "\r\n" + `6\0\0\0\0\0\0\xbf\xa1`),
		"an escape behind a backslash":               array(`\xbf\\` + "\n" + `x16\0\0\0\0\0\0\xbf\xa1`),
		"a line that ends early":                     array(`\xbf\` + "\n" + `\x16\0\0\0\0\0\0\xbf\xa1`),
		"a backslash and space":                      array(`\xbf\x16\0\0\0\0\0\0\ ` + "\n" + `\xbf\xa1`),
		"an octal escape":                            array(`\277\x16\0\0\0\0\0\0\xbf\xa1`),
		"a long octal escape":                        array(`\xbf\x16\00\0\0\0\0\0\xbf\xa1`),
		"a short escape":                             array(`\xbf\x16\x0\0\0\0\0\0\xbf\xa1`),
		"a long escape":                              array(`\x0bf\x16\0\0\0\0\0\0\xbf\xa1`),
		"capital letters":                            array(`\xBF\x16\0\0\0\0\0\0\xbf\xa1`),
		"a byte 0 in hexadecimal":                    array(`\xbf\x16\x00\0\0\0\0\0\xbf\xa1`),
		"an escape of C":                             array(`\xbf\n\0\0\0\0\0\0\xbf\xa1`),
		"an escape of Unicode":                       array(`\xbf\u0041\0\0\0\0\0\0\xbf\xa1`),
		"an escape in braces":                        array(`\xbf\x{16}\0\0\0\0\0\0\xbf\xa1`),
		"a character":                                array(`\xbf^\0\0\0\0\0\0\xbf\xa1`),
		"a digit behind an escape":                   array(`\xbf\x16\01\0\0\0\0\0\xbf\xa1`),
		"a byte above 0x7e":                          array("\xbf" + `\x16\0\0\0\0\0\0\xbf\xa1`),
		"a trigraph in an array":                     array(`\xbf?` + `?/x16\0\0\0\0\0\0\xbf\xa1`),
		"strings side by side":                       array(`\xbf\x16" "\0\0\0\0\0\0\xbf\xa1`),
		"an escape in two strings":                   array(`\xbf\x1" "6\0\0\0\0\0\0\xbf\xa1`),
		"a comment between strings":                  array(`\xbf\x16" /* " */ "\0\0\0\0\0\0\xbf\xa1`),
		"a prefix":                                   replace(insns, strings.TrimSuffix(insns, `"`)+`u8"`),
		"a raw array":                                replace(insns, strings.TrimSuffix(insns, `"`)+`R"`),
		"a size":                                     replace("opts_insn[] ", "opts_insn[8] "),
		"an attribute":                               replace("opts_insn[] __attribute__((__aligned__(8)))", "opts_insn[] __asm__(\"x\") __attribute__((__aligned__(8)))"),
		"another declaration":                        replace("static const char opts_insn", "extern const char opts_insn"),
		"a name across lines":                        replace("static const char opts_insn", "static const char opts_i\\\nnsn"),
		"an array of a section with another's bytes": replace("static const char data[] __attribute__((__aligned__(8))) = \"\\\n", "static const char data[] __attribute__((__aligned__(8))) = \"x\" \"\\\n"),

		// preprocessor lines
		"a macro":                   replace(include, include+"#define opts_insn evil\n"),
		"a macro of a field":        "#define insns data\n" + header,
		"left out":                  "#if 0\n" + header + "#endif\n",
		"the function left out":     around("#ifdef __cplusplus\n", "#endif\n"),
		"an alternative":            around("#ifdef __cplusplus\n", "#else\n"+load+"#endif\n"),
		"included":                  replace(include, include+"#include \"evil.h\"\n"),
		"another include":           replace(include, "#include \"bpf/skel_internal.h\"\n"),
		"no include":                replace(include, ""),
		"a pragma":                  "#pragma push_macro(\"opts\")\n" + header,
		"a line's number":           replace(include, include+"#line 5 \"x\"\n"),
		"an empty directive":        replace(include, include+"#\n"),
		"an indented directive":     replace(include, include+"/**/ #define opts_insn evil\n"),
		"a directive behind CR":     replace(include, include+"int x;\r#define opts_insn evil\n"),
		"a digraph":                 replace(include, include+"%:define opts_insn evil\n"),
		"a digraph across lines":    replace(include, include+"%\\\n:define opts_insn evil\n"),
		"a trigraph":                replace(include, include+"?"+"?=define opts_insn evil\n"),
		"an import":                 replace(include, include+"#import \"evil.h\"\n"),
		"assertions as a macro":     replace("#define _Static_assert static_assert", "#define _Static_assert return"),
		"another name undefined":    replace("#undef _Static_assert", "#undef NULL"),
		"a guard with a value":      replace("#define __GATE_SKEL_H__\n", "#define __GATE_SKEL_H__ 1\n"),
		"a guard as a function":     replace("#define __GATE_SKEL_H__\n", "#define __GATE_SKEL_H__(x) x\n"),
		"return as the guard":       strings.ReplaceAll(header, "__GATE_SKEL_H__", "return"),
		"NULL as the guard":         strings.ReplaceAll(header, "__GATE_SKEL_H__", "NULL"),
		"static as the guard":       replace(guard, "#ifndef static\n#define static\n"),
		"a flag as the guard":       replace(guard, "#ifndef BPF_F_SLEEPABLE\n#define BPF_F_SLEEPABLE\n"),
		"another skeleton's guard":  strings.ReplaceAll(header, "__GATE_SKEL_H__", "__DOOR_SKEL_H__"),
		"the guard in small":        strings.ReplaceAll(header, "__GATE_SKEL_H__", "__gate_SKEL_H__"),
		"the guard of nothing":      strings.ReplaceAll(header, "__GATE_SKEL_H__", "__GATE_SKEL_H_"),
		"a second guard":            replace(include, include+"#ifndef x\n#define x\n#endif\n"),
		"behind the end":            header + "int x;\n",
		"a comment behind the end":  header + "/*",
		"another #endif":            header + "#endif\n",
		"no #endif":                 edit(t, header, "\n#endif /* __GATE_SKEL_H__ */\n", ""),
		"cut":                       header[:len(header)-200],
		"cut in the last line":      strings.TrimSuffix(header, "\n"),
		"a byte order mark":         "\xef\xbb\xbf" + header,
		"CRLF":                      strings.ReplaceAll(header, "\n", "\r\n"),
		"CR":                        strings.ReplaceAll(header, "\n", "\r"),
		"a zero byte":               replace("AUTOGENERATED", "AUTO\x00GENERATED"),
		"a form feed":               around("\f", ""),
		"a letter beyond ASCII":     around("static int \u00fc;\n", ""),
		"a comment":                 around("/* */", ""),
		"a comment of a line":       around("// x\n", ""),
		"the function as a comment": otherwise("/*\n", "*/\n"),
		"a raw string":              otherwise("static const char *x = R\"(\n", ")\";\n"),
		"a long number":             around("static int x = 1'0; /*'*/\n", "/*'*/\n"),
		"a quote as a character":    around("static int x = '\"'; /*\n", "*/ static int y = '\"';\n"),

		// names and declarations
		"a block's end as a name":        strings.ReplaceAll(header, "value_size", "__END_DECLS"),
		"a block's begin as a type":      replace("\t\t__u32 value_size;\n", "\t\t__BEGIN_DECLS value_size;\n"),
		"a name of nothing":              strings.ReplaceAll(header, "value_size", ""),
		"a name of digits":               strings.ReplaceAll(header, "value_size", "0"),
		"a name with a sign":             strings.ReplaceAll(header, "value_size", "value-size"),
		"a variable's value":             replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size = f();\n"),
		"a function":                     replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size(void);\n"),
		"a function's body":              replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size() { return 0; };\n"),
		"a size that is calculated":      replace("\t\t__u32 value_size;\n", "\t\tchar value_size[sizeof(struct { int a; })];\n"),
		"a structure with a name":        replace("\t\t__u32 value_size;\n", "\t\tstruct bpf_loader_ctx { int a; } value_size;\n"),
		"a type's attribute":             replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size __attribute__((cleanup(f)));\n"),
		"a string in a declaration":      replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size __asm__(\"x\");\n"),
		"a comment in a declaration":     replace("\t\t__u32 value_size;\n", "\t\t__u32 /* */ value_size;\n"),
		"a directive in a declaration":   replace("\t\t__u32 value_size;\n", "\t\t__u32\n#define opts_insn evil\n value_size;\n"),
		"a directive between":            replace("\t\t__u32 value_size;\n", "\t\t__u32 value_size;\n#define opts_insn evil\n"),
		"a map that has no name":         strings.ReplaceAll(header, "*rodata;", "*other;"),
		"sections beyond the maps":       replace("\t} *rodata;\n", "\t} *rodata;\n\tstruct gate__other {\n\t} *other;\n"),
		"a size of the mapping":          replace(".initial_value, 4096);", ".initial_value, sizeof(*skel));"),
		"another size of the mapping":    replace("data, 4096,", "data, 8192,"),
		"another protection":             replace("PROT_READ,", "PROT_READ | PROT_EXEC,"),
		"an assertion of something else": replace("sizeof(s->rodata->value_size) == 4", "sizeof(s->rodata->value_size) == f()"),
		"an assertion's text":            replace("unexpected size of 'value_size'", "\\\" evil"),
	} {
		_, err := bpf.ParseSkeleton([]byte(source))
		var syntax *bpf.SyntaxError
		if !errors.As(err, &syntax) || syntax.Line == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAttached: another way to attach a program is not of bpftool's.
func TestAttached(t *testing.T) {
	source, err := os.ReadFile("../testdata/bpf/kinds-7.3.lskel.h")
	if err != nil {
		t.Fatal(err)
	}
	for old, with := range map[string]string{
		`skel_raw_tracepoint_open("sys_enter", prog_fd)`: `skel_raw_tracepoint_open("sys_enter\0", prog_fd)`,
		`skel_raw_tracepoint_open(NULL, prog_fd)`:        `skel_raw_tracepoint_open(NULL, 0)`,
		`skel_link_create(prog_fd, 0, BPF_TRACE_ITER)`:   `skel_link_create(prog_fd, 1, BPF_TRACE_ITER)`,
		"LAST = 4294967295,":                             "LAST = 4294967295 + f(),",
		"int (*matrix)[2][5];":                           "int (matrix)[2][5];",
		"int (*pick)(int, char *);":                      "int (pick)(int, char *);",
		"__attribute__((packed)) packed":                 "__attribute__((packed, cleanup(f))) packed",
		"int flag: 1;":                                   "int flag: 01;",
	} {
		var syntax *bpf.SyntaxError
		if _, err := bpf.ParseSkeleton([]byte(edit(t, string(source), old, with))); !errors.As(err, &syntax) {
			t.Errorf("%s: %v", with, err)
		}
	}
}

// TestHost: loaders of bpftool 7.7 take values from the header, so those have to be the ones
// that are signed. Later loaders take nothing, and what the header says has no effect.
func TestHost(t *testing.T) {
	for name, takes := range map[string]bool{
		"kinds-7.7": true, "allowlist-7.7-rsa2048": true, "plain-7.7": false, "kinds-6.18": false, "kinds-7.3": false, "percpu-7.3": false, "gate-6.18": false,
	} {
		source, s := skeleton(t, name)
		if s.TakesFromHost() != takes {
			t.Errorf("%s takes from the host: %v", name, !takes)
		}
		if accepted, err := bpf.Verify(judge(t, "6.18.15", "rsa2048"), &s.Loader); name == "kinds-7.7" && (err != nil || !strings.Contains(accepted.Lax, "values of global variables")) {
			t.Errorf("%s: %+v, %v", name, accepted, err)
		}
		changed := 0
		values := regexp.MustCompile(`(?s)static const char data\[\].*?";\n\n\t\tskel->(\w+) =`)
		for _, at := range values.FindAllSubmatchIndex(source, -1) {
			digits := bytes.Index(source[at[0]:at[1]], []byte(`\x`)) + 2
			if digits < 2 {
				continue // zeros alone
			}
			changed++
			other := bytes.Clone(source)
			if other[at[0]+digits] ^= 1; other[at[0]+digits] > 'f' || bytes.HasPrefix(other[at[0]+digits:], []byte("00")) {
				other[at[0]+digits] = '8'
			}
			_, err := bpf.ParseSkeleton(other)
			if section := string(source[at[2]:at[3]]); takes != (err != nil) || takes && !strings.Contains(err.Error(), "the values of "+section+" are others") {
				t.Errorf("%s, another value in %s: %v", name, section, err)
			}
		}
		if strings.HasPrefix(name, "kinds") && changed < 3 {
			t.Errorf("%s: %d sections were changed", name, changed)
		}
	}
}

// TestHostile: whatever is no skeleton ends quickly, in an error that says what it is.
func TestHostile(t *testing.T) {
	source, _ := skeleton(t, "kinds-7.3")
	header := string(source)
	const marks = "bpf_load_and_run(&opts) opts_sig[]"
	const member = "\t\tstruct {\n\t\t\tint flag: 1;\n"
	for name, test := range map[string]struct{ source, want string }{
		"nothing":               {"", "not a light skeleton"},
		"another program":       {"int main(void) { return 0; }", "not a light skeleton"},
		"an object":             {"\x7fELF\x02\x01\x01", "not a light skeleton"},
		"unsigned":              {"opts.insns = (void *)\"x\"; err = bpf_load_and_run(&opts);", "is not signed"},
		"its words":             {marks, "line 1: "},
		"the line":              {strings.Replace(header, "#include", "#import", 1), `line 6: bpftool writes "#include <bpf/skel_internal.h>" here`},
		"CRLF":                  {strings.ReplaceAll(header, "\n", "\r\n"), "line 1: bpftool ends lines without a carriage return"},
		"what to do":            {strings.Replace(header, "#include", "#import", 1), "only as bpftool wrote it"},
		"too large":             {string(make([]byte, bpf.MaxSkeleton+1)), "kernels take at most"},
		"many maps":             {strings.Replace(header, "\t} maps;\n", strings.Repeat("\t\tstruct bpf_map_desc m;\n", 300_000)+"\t} maps;\n", 1), "writes"},
		"many sections":         {strings.Replace(header, "\n};\n", "\n"+strings.Repeat("\tstruct my_kinds__m {\n\t} *m;\n", 300_000)+"};\n", 1), "no map is named m"},
		"many programs":         {strings.Replace(header, "\t} progs;\n", strings.Repeat("\t\tstruct bpf_prog_desc p;\n", 300_000)+"\t} progs;\n", 1), "writes"},
		"nested structures":     {strings.Replace(header, member, "\t\t"+strings.Repeat("struct {", 1_000_000), 1), "nest too deep"},
		"nested pointers":       {strings.Replace(header, member, "\t\tint "+strings.Repeat("(*", 1_000_000), 1), "nest too deep"},
		"nested parameters":     {strings.Replace(header, member, "\t\t"+strings.Repeat("int (*x)(", 1_000_000), 1), "nest too deep"},
		"a pointer of pointers": {strings.Replace(header, member, "\t\tint "+strings.Repeat("*", 1_000_000)+";\n"+member, 1), ""},
		"a name without end":    {strings.Replace(header, member, "\t\t"+strings.Repeat("x", 1_000_000), 1), "writes"},
		"a long skeleton":       {strings.ReplaceAll(header, "struct my_kinds {", "struct "+strings.Repeat("x", 1_000_000)+" {"), "line 3: bpftool writes __XXX"},
		"a reserved name":       {strings.Replace(header, "\t\tstruct bpf_map_desc _ring;", "\t\tstruct bpf_map_desc _"+strings.Repeat("X", 1_000_000)+";", 1), "line 12: _XXX"},
		"spaces without end":    {strings.Replace(header, member, "\t\tint"+strings.Repeat(" ", 1_000_000), 1), "writes"},
	} {
		_, err := bpf.ParseSkeleton([]byte(test.source))
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 400 {
			t.Errorf("%s: %.400v, want %q", name, err, test.want)
		}
	}
	for at := 0; at < len(header); at += 97 {
		if _, err := bpf.ParseSkeleton([]byte(header[:at])); err == nil {
			t.Fatalf("%d bytes of %d are read", at, len(header))
		}
	}
	unsigned, err := os.ReadFile("../testdata/bpf/allowlist-unsigned.lskel.h")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bpf.ParseSkeleton(unsigned); !errors.Is(err, bpf.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
}

// FuzzParseSkeleton: no panic, and what is read is read again of the header that
// WithSignature makes.
func FuzzParseSkeleton(f *testing.F) {
	for _, path := range goldens(f) {
		source, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := bpf.ParseSkeleton(source)
		if err != nil {
			return
		}
		s.Scheme()
		s.Hash()
		s.DataMatches()
		if !bytes.Equal(s.WithSignature(s.Signature), source) {
			t.Error("the same signature makes another header")
		}
		message := []byte("\x00\xffsigned")
		again, err := bpf.ParseSkeleton(s.WithSignature(message))
		if err != nil {
			t.Fatalf("after the change: %v", err)
		}
		if !bytes.Equal(again.Signature, message) || !bytes.Equal(again.Instructions, s.Instructions) || !bytes.Equal(again.Data, s.Data) {
			t.Error("the change has changed something else")
		}
	})
}
