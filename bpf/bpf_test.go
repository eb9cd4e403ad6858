package bpf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sign-file/bpf"
	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
	"sign-file/test/testenv"
)

// skeleton reads a header that bpftool has made.
func skeleton(t testing.TB, name string) ([]byte, *bpf.Skeleton) {
	t.Helper()
	source, err := os.ReadFile("../testdata/bpf/" + name + ".lskel.h")
	if err != nil {
		t.Fatal(err)
	}
	s, err := bpf.ParseSkeleton(source)
	if err != nil {
		t.Fatal(err)
	}
	return source, s
}

func newSigner(t testing.TB, name string) *signfile.Signer {
	t.Helper()
	key, err := keys.Open(context.Background(), "../testdata/keys/"+name+".key", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { key.Close() })
	s, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert(t, name), Digest: digest.SHA256, UseKeyID: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cert(t testing.TB, name string) *certificate.Certificate {
	t.Helper()
	c, err := certificate.FromFile("../testdata/keys/" + name + ".x509")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func judge(t testing.TB, release string, trusted ...string) *kernel.Judge {
	t.Helper()
	rules, err := kernel.Of(release)
	if err != nil {
		t.Fatal(err)
	}
	var ring kernel.Ring
	for _, name := range trusted {
		ring.Add(cert(t, name))
	}
	return kernel.NewJudgeOf(rules, &ring, kernel.BPF, kernel.Builtin)
}

// TestGolden: of the header that bpftool signed with one key, Sign makes the one that it
// signed with another, byte for byte.
func TestGolden(t *testing.T) {
	for _, series := range []string{"6.18", "7.3"} {
		_, s := skeleton(t, "allowlist-"+series+"-rsa2048")
		if s.Scheme().String() != series {
			t.Errorf("%s: scheme %v", series, s.Scheme())
		}
		hash := s.Hash()
		if !bytes.Equal(hash[:], s.ExclusiveHash) {
			t.Errorf("%s: hash %x, and bpftool says %x", series, hash, s.ExclusiveHash)
		}
		if !s.DataMatches() {
			t.Errorf("%s: the loader would refuse its own data", series)
		}
		want, _ := skeleton(t, "allowlist-"+series+"-rsa4096")
		message, err := s.Sign(t.Context(), newSigner(t, "rsa4096"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.WithSignature(message); !bytes.Equal(got, want) {
			t.Errorf("%s: not bpftool's header", series)
		}
	}
}

// TestVerify: the answers are those that test/bpf has seen kernels give.
func TestVerify(t *testing.T) {
	_, old := skeleton(t, "allowlist-6.18-rsa2048")
	_, new := skeleton(t, "allowlist-7.3-rsa2048")
	changed := func(l bpf.Loader, part func(*bpf.Loader) *[]byte) *bpf.Loader {
		p := part(&l)
		*p = bytes.Clone(*p)
		(*p)[len(*p)-1] ^= 1
		return &l
	}
	code := func(l *bpf.Loader) *[]byte { return &l.Instructions }
	data := func(l *bpf.Loader) *[]byte { return &l.Data }
	message := func(l *bpf.Loader) *[]byte { return &l.Signature }
	hash := func(l *bpf.Loader) *[]byte { return &l.ExclusiveHash }
	unsigned := new.Loader
	unsigned.Signature = nil
	const accepted = syscall.Errno(0)
	for _, test := range []struct {
		name, release, trusted string
		loader                 *bpf.Loader
		errno                  syscall.Errno
		function               string
	}{
		{"old", "7.2.13", "rsa2048", &old.Loader, accepted, ""},
		{"old on 6.18.15", "6.18.15", "rsa2048", &old.Loader, syscall.EACCES, "check_ptr_to_map_access"},
		{"old, unknown key", "7.2", "p384", &old.Loader, syscall.ENOKEY, "pkcs7_validate_trust"},
		{"old, code", "7.2", "rsa2048", changed(old.Loader, code), syscall.EKEYREJECTED, "public_key_verify_signature"},
		{"old, data", "7.2", "rsa2048", changed(old.Loader, data), syscall.EINVAL, "BPF_PROG_RUN"},
		{"old, message", "7.2", "rsa2048", changed(old.Loader, message), syscall.EKEYREJECTED, "rsassa_pkcs1_verify"},
		{"old, hash", "7.2", "rsa2048", changed(old.Loader, hash), syscall.EACCES, "check_map_prog_compatibility"},
		{"old on new", "7.3", "rsa2048", &old.Loader, syscall.EKEYREJECTED, "public_key_verify_signature"},
		{"new", "7.3.4", "rsa2048", &new.Loader, accepted, ""},
		{"new, unknown key", "7.3", "p384", &new.Loader, syscall.ENOKEY, "pkcs7_validate_trust"},
		{"new, code", "7.3", "rsa2048", changed(new.Loader, code), syscall.EACCES, "check_map_prog_compatibility"},
		{"new, data", "7.3", "rsa2048", changed(new.Loader, data), syscall.EKEYREJECTED, "public_key_verify_signature"},
		{"new, message", "7.3", "rsa2048", changed(new.Loader, message), syscall.EKEYREJECTED, "rsassa_pkcs1_verify"},
		{"new, hash", "7.3", "rsa2048", changed(new.Loader, hash), syscall.EACCES, "check_map_prog_compatibility"},
		{"new on old", "6.18.15", "rsa2048", &new.Loader, syscall.EKEYREJECTED, "public_key_verify_signature"},
		{"new, no signature", "7.3", "rsa2048", &unsigned, syscall.EINVAL, "bpf_prog_verify_signature"},
		{"before signatures", "6.12", "rsa2048", &new.Loader, syscall.EINVAL, "map_create"},
		{"nothing", "7.3", "rsa2048", &bpf.Loader{}, syscall.E2BIG, "bpf_prog_load"},
	} {
		v, err := bpf.Verify(judge(t, test.release, test.trusted), test.loader)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if v.Accepted != (test.errno == accepted) || v.Errno != test.errno || v.Func != test.function {
			t.Errorf("%s: %s from %s (%s), want %v from %s", test.name, v.Name(), v.Func, v.Reason, test.errno, test.function)
		}
	}
	if _, err := bpf.Verify(judge(t, "6.18", "rsa2048"), &old.Loader); err == nil {
		t.Error("decided for a release that is not known to have the field excl")
	}
	if _, err := bpf.Verify(nil, &old.Loader); err == nil {
		t.Error("decided without a kernel")
	}
}

// TestSignRefuses: no signature is made that would let nothing run, or that would cover
// less than whoever signs takes it to cover.
func TestSignRefuses(t *testing.T) {
	_, old := skeleton(t, "allowlist-6.18-rsa2048")
	_, new := skeleton(t, "allowlist-7.3-rsa2048")
	var scheme *bpf.SchemeError
	if err := new.CheckScheme(bpf.Instructions); !errors.As(err, &scheme) {
		t.Errorf("a loader that compares nothing, for Linux 6.18: %v", err)
	}
	if err := old.CheckScheme(bpf.InstructionsAndMap); !errors.As(err, &scheme) {
		t.Errorf("a loader that waits for a digest, for Linux 7.3: %v", err)
	}
	signer := newSigner(t, "rsa2048")
	other := old.Loader
	other.Data = append(bytes.Clone(other.Data[:len(other.Data)-1]), 1)
	if _, err := other.Sign(t.Context(), signer); !errors.Is(err, bpf.ErrData) {
		t.Errorf("other data: %v", err)
	}
	other = new.Loader
	other.ExclusiveHash = old.ExclusiveHash
	var hash *bpf.HashError
	if _, err := other.Sign(t.Context(), signer); !errors.As(err, &hash) {
		t.Errorf("another program's hash: %v", err)
	}
	var size *bpf.SizeError
	large := bpf.Loader{Instructions: make([]byte, 8), Data: make([]byte, bpf.MaxPayload)}
	if _, err := large.Sign(t.Context(), signer); !errors.As(err, &size) {
		t.Errorf("too large: %v", err)
	}
	for _, n := range []int{0, 7, 9} {
		if _, err := (&bpf.Loader{Instructions: make([]byte, n)}).Sign(t.Context(), signer); !errors.Is(err, bpf.ErrNoInstructions) {
			t.Errorf("%d bytes of instructions: %v", n, err)
		}
	}
	if _, err := new.Sign(t.Context(), nil); err == nil {
		t.Error("signed by nobody")
	}
}

// arrays is a skeleton of the least size.
const arrays = `static inline int x__load(struct x *skel) {
	struct bpf_load_and_run_opts opts = {}; int err;
	static const char opts_data[] __attribute__((__aligned__(8))) = "d";
	static const char opts_insn[] __attribute__((__aligned__(8))) = "\0\x01\2345678";
	static const char opts_sig[] __attribute__((__aligned__(8))) = "s";
	static const char opts_excl_hash[] __attribute__((__aligned__(8))) = "h";
	opts.signature = (void *)opts_sig; opts.signature_sz = sizeof(opts_sig) - 1;
	opts.excl_prog_hash = (void *)opts_excl_hash; opts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;
	opts.keyring_id = skel->keyring_id; opts.ctx = (struct bpf_loader_ctx *)skel;
	opts.data_sz = sizeof(opts_data) - 1; opts.data = (void *)opts_data;
	opts.insns_sz = sizeof(opts_insn) - 1; opts.insns = (void *)opts_insn;
	err = bpf_load_and_run(&opts); if (err < 0) return err;
	return 0;
}`

// TestSpelling: what a C compiler takes for the same arrays is read as the same.
func TestSpelling(t *testing.T) {
	code := "\x00\x01\x9c5678"
	for name, source := range map[string]string{
		"plain":       arrays,
		"no space":    strings.ReplaceAll(arrays, " = ", "="),
		"lines":       strings.ReplaceAll(arrays, " = ", "\n\t=\n\t"),
		"CRLF":        strings.ReplaceAll(strings.ReplaceAll(arrays, " = ", "\r\n=\r\n"), `"d"`, "\"\\\r\nd\\\r\n\""),
		"brackets":    strings.ReplaceAll(arrays, "[]", `[ /* a */ ]`),
		"parts":       strings.ReplaceAll(arrays, `"d"`, "\"\" /* a */ \"d\" // b\n \"\""),
		"octal":       strings.ReplaceAll(arrays, `\0\x01\234`, `\000\001\x9c""`),
		"continued":   strings.ReplaceAll(arrays, `\0\x01`, "\\\n\\0\\\n\\x01\\\n"),
		"comments":    `/* opts_sig[] = "x"; */ // opts_sig[] = "y";` + "\n" + arrays,
		"in a string": `char *s = "opts_sig[] = \"z\";";` + arrays,
		"apostrophe":  arrays + `char c = '"', d = '\'';`,
		"guard":       "/* a */\n#ifndef X\n#define X\n" + arrays + "\n#ifdef __cplusplus\n#endif\n#endif /* X */\n",
	} {
		s, err := bpf.ParseSkeleton([]byte(source))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c := compiled(t, source); c != fmt.Sprintf("%x %x %x %x\n", s.Instructions, s.Data, s.Signature, s.ExclusiveHash) {
			t.Errorf("%s: a compiler reads %s", name, c)
		}
		if string(s.Instructions) != code || string(s.Data) != "d" || string(s.Signature) != "s" || string(s.ExclusiveHash) != "h" {
			t.Errorf("%s: %q %q %q %q", name, s.Instructions, s.Data, s.Signature, s.ExclusiveHash)
		}
		changed, err := bpf.ParseSkeleton(s.WithSignature([]byte("\x00another")))
		if err != nil || string(changed.Signature) != "\x00another" || string(changed.Instructions) != code || string(changed.Data) != "d" {
			t.Errorf("%s: after the change: %v", name, err)
		}
	}
}

// compiled is what a C compiler reads of the arrays, in hexadecimal.
func compiled(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	program := `#include <stdio.h>
struct bpf_load_and_run_opts {
	struct bpf_loader_ctx *ctx; const void *data, *insns, *signature, *excl_prog_hash;
	unsigned data_sz, insns_sz, signature_sz, excl_prog_hash_sz; int keyring_id;
};
struct x { int keyring_id; };
static void show(const unsigned char *b, unsigned n, const char *end) { for (unsigned i = 0; i < n; i++) printf("%02x", b[i]); printf("%s", end); }
static int bpf_load_and_run(struct bpf_load_and_run_opts *o) {
	show(o->insns, o->insns_sz, " "); show(o->data, o->data_sz, " "); show(o->signature, o->signature_sz, " "); show(o->excl_prog_hash, o->excl_prog_hash_sz, "\n");
	return 0;
}
` + source + `
int main(void) { struct x x = { 0 }; return x__load(&x); }
`
	if err := os.WriteFile(filepath.Join(dir, "x.c"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := exec.Command(testenv.Tool(t, "gcc"), "-w", "-o", "x", "x.c")
	compiler.Dir = dir
	if out, err := compiler.CombinedOutput(); err != nil {
		return fmt.Sprintf("%v %s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, "x")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestHostile: what is no skeleton ends in an error that says what it is.
func TestHostile(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(arrays, old, new, 1) }
	for source, want := range map[string]string{
		"":                             "not a light skeleton",
		"int main(void) { return 0; }": "not a light skeleton",
		"\x7fELF\x02\x01\x01":          "not a light skeleton",
		replace(`static const char opts_insn[] __attribute__((__aligned__(8))) = "\0\x01\2345678";`, ""): "is not signed",
		replace(`static const char opts_sig[] __attribute__((__aligned__(8))) = "s";`, ""):               "is not signed",
		replace(`static const char opts_excl_hash[] __attribute__((__aligned__(8))) = "h";`, ""):         "is not signed",
		"opts.insns = (void *)\"x\"; err = bpf_load_and_run(&opts);":                                     "is not signed",
		arrays + `char opts_sig[] = "t";`:                                                                "opts_sig is defined twice",
		replace(`"s"`, `s`):                                                                              "opts_sig is no string",
		replace(`"s"`, `{ 1, 2 }`):                                                                       "opts_sig is no string",
		replace(`opts_sig[]`, `opts_sig[8]`):                                                             "opts_sig has a size of its own",
		replace(`"s"`, `"s" + 1`):                                                                        "opts_sig is no string",
		replace(`"s"`, `"s`):                                                                             "",
		replace(`"s";`, `"s`):                                                                            "",
		replace(`"s"`, `"\x"`):                                                                           "an escape without digits",
		replace(`"s"`, `"\x100"`):                                                                        "larger than a byte",
		replace(`"s"`, `"\400"`):                                                                         "larger than a byte",
		replace(`"s"`, `"\q"`):                                                                           "an escape that C does not have",
		replace(`"s"`, "\"s\n\""):                                                                        "does not end on its line",
		arrays + `"`:                                                                                     "a string that does not end",
		arrays + `"\`:                                                                                    "a string that does not end",
		arrays + "\n\n\"":                                                                                "line 16",
		arrays[:60]:                                                                                      "",
		strings.Repeat("opts_sig[] x ", 100_000):                                                         "not a light skeleton",
		strings.Repeat("opts_sig", 100_000):                                                              "not a light skeleton",
		strings.Repeat("/*", 100_000) + strings.Repeat(`"\`, 100_000):                                    "not a light skeleton",
		strings.Repeat(`opts_sig[] = "" `, 50_000):                                                       "opts_sig is no string",
		`opts_sig[] = ` + strings.Repeat(`"\x41"`, 100_000) + `; /*`:                                     "not a light skeleton",
		strings.Repeat("'", 100_000) + "opts_sig[] = \"a\"; '\\":                                         "not a light skeleton",
		string(make([]byte, bpf.MaxSkeleton+1)):                                                          "kernels take at most",
		"opts_sig[" + strings.Repeat("9", 100_000) + "] = \"\"; char x":                                  "has a size of its own",
	} {
		_, err := bpf.ParseSkeleton([]byte(source))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", source, err, want)
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
	f.Add([]byte(arrays))
	source, _ := skeleton(f, "allowlist-7.3-rsa2048")
	f.Add(source)
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := bpf.ParseSkeleton(source)
		if err != nil {
			return
		}
		s.Scheme()
		s.Hash()
		s.DataMatches()
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

// FuzzVerify: no panic, whatever the parts of a loader are.
func FuzzVerify(f *testing.F) {
	_, s := skeleton(f, "allowlist-6.18-rsa2048")
	f.Add(s.Instructions, s.Data, s.Signature, s.ExclusiveHash)
	f.Add([]byte{0x18}, []byte(nil), []byte{0x30}, []byte(nil))
	f.Fuzz(func(t *testing.T, code, data, message, hash []byte) {
		l := &bpf.Loader{Instructions: code, Data: data, Signature: message, ExclusiveHash: hash}
		for _, release := range []string{"6.1", "6.18.15", "7.3"} {
			bpf.Verify(judge(t, release, "rsa2048"), l)
		}
	})
}

// A build signs a skeleton with a key that it throws away, since bpftool knows only keys in
// PEM files. The real key signs it anew.
func Example() {
	source, err := os.ReadFile("../testdata/bpf/allowlist-7.3-rsa2048.lskel.h")
	if err != nil {
		fmt.Println(err)
		return
	}
	skeleton, err := bpf.ParseSkeleton(source)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keys.Open(context.Background(), "../testdata/keys/p384.key", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/p384.x509")
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := signfile.NewSigner(signfile.Options{Key: key, Certificate: cert, Digest: digest.SHA256, UseKeyID: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := skeleton.Sign(context.Background(), signer)
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := bpf.ParseSkeleton(skeleton.WithSignature(message))
	if err != nil {
		fmt.Println(err)
		return
	}

	rules, err := kernel.Of("7.3")
	if err != nil {
		fmt.Println(err)
		return
	}
	var ring kernel.Ring
	ring.AddTo(kernel.Secondary, cert)
	for _, keyring := range []kernel.Keyring{kernel.Secondary, kernel.Builtin} {
		verdict, err := bpf.Verify(kernel.NewJudgeOf(rules, &ring, kernel.BPF, keyring), &signed.Loader)
		if err != nil {
			fmt.Println("not decided:", err)
			return
		}
		if verdict.Accepted {
			fmt.Println(keyring, "accepts", verdict.DataSize, "bytes")
		} else {
			fmt.Println(keyring, "refuses:", verdict.Name())
		}
	}
	// Output:
	// .secondary_trusted_keys accepts 6088 bytes
	// .builtin_trusted_keys refuses: ENOKEY
}

// TestOtherUse: a compiler may see another program than was signed, or none that is signed,
// where a header is not bpftool's word for word.
func TestOtherUse(t *testing.T) {
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(arrays, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(arrays, old, new, 1)
	}
	call := "err = bpf_load_and_run(&opts);"
	for what, source := range map[string]string{
		"no signature":            replace("opts.signature = (void *)opts_sig; opts.signature_sz = sizeof(opts_sig) - 1;", ""),
		"an empty signature":      replace("sizeof(opts_sig) - 1", "0"),
		"no exclusive map":        replace("opts.excl_prog_hash = (void *)opts_excl_hash; opts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;", ""),
		"data for instructions":   replace("opts.insns = (void *)opts_insn", "opts.insns = (void *)opts_data"),
		"a byte more":             replace("sizeof(opts_insn) - 1", "sizeof(opts_insn)"),
		"set once more":           replace(call, "opts.insns = evil; "+call),
		"by a pointer":            replace(call, "*(void **)((char *)&opts + 8) = evil; "+call),
		"returned before":         replace(call, "return 0; "+call),
		"loaded twice":            replace(call, "bpf_load_and_run(&other); "+call),
		"in another function":     arrays + " int f(void) { return bpf_load_and_run(&x); }",
		"copied over":             arrays + " void f(void) { g(opts_insn); }",
		"a macro":                 "#define opts_insn evil\n" + arrays,
		"a macro of a field":      "#define insns data\n" + arrays,
		"left out":                "#if 0\n" + arrays + "\n#endif\n",
		"left out for C":          "#ifdef __cplusplus\n" + arrays + "\n#endif\n",
		"behind a guard":          "#ifndef X\n#define X\n#endif\n" + arrays,
		"included":                "#include \"evil.h\"\n" + arrays,
		"an alternative":          "#ifndef X\n#define X\n#else\n" + arrays + "\n#endif\n",
		"a digraph":               "%:define opts_insn evil\n" + arrays,
		"a trigraph":              "// ?" + "?/\n" + arrays,
		"a continued comment":     "// \\ \n" + arrays,
		"a continued word":        replace("opts.insns =", "opts.in\\\nsns ="),
		"a raw string":            `char *s = R"x("; )x";` + arrays,
		"a zero byte":             "//\x00\n" + arrays,
		"another skeleton's name": strings.Replace(arrays, "struct x", "struct y", 1),
		"no function":             replace("static inline int x__load(struct x *skel) ", "void *f(void) "),
		"a pragma":                "#pragma push_macro(\"opts\")\n" + arrays,
		"behind the end":          "#ifndef X\n#define X\n" + arrays + "\n#endif\nint x;\n",
	} {
		if _, err := bpf.ParseSkeleton([]byte(source)); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// TestFalseCheck: a comparison of the map's digest counts where libbpf puts it and as it does.
func TestFalseCheck(t *testing.T) {
	if _, oldest := skeleton(t, "allowlist-7.7-rsa2048"); oldest.Scheme() != bpf.Instructions || !oldest.DataMatches() {
		t.Error("the loader of bpftool 7.7.0 counts as one without a comparison")
	}
	_, old := skeleton(t, "allowlist-6.18-rsa2048")
	const size, check = bpf.InstructionSize, 30 // the first instruction of the comparison
	change := func(at int, with ...byte) bpf.Loader {
		other := old.Loader
		other.Instructions = bytes.Clone(other.Instructions)
		copy(other.Instructions[at*size:], with)
		hash := sha256.Sum256(other.Instructions)
		other.ExclusiveHash = hash[:]
		return other
	}
	for what, loader := range map[string]bpf.Loader{
		"a jump to the next":        change(check+11, 0x5d, 0x32, 0, 0),
		"a comparison with itself":  change(check+11, 0x5d, 0x33),
		"another comparison":        change(check+11, 0x1d),
		"of 32 bits":                change(check+11, 0x5e),
		"no error":                  change(check+10, 0xb7, 7, 0, 0, 0, 0, 0, 0),
		"one of four":               change(check+18, 0x5d, 0x32, 0, 0),
		"behind the cleanup":        change(check+11, 0x5d, 0x32, 0xe0, 0xff),
		"jumped over":               change(6, 0x05, 0, byte(23+33), 0),
		"another map":               change(check+5, 0x18, 0x51, 0, 0, 1),
		"exclusive without a cause": change(check+4, 0x55, 2, 0, 0),
		"ended before":              change(5, 0x95, 0, 0, 0, 0, 0, 0, 0),
	} {
		if loader.Scheme() == bpf.Instructions {
			t.Errorf("%s: counts as a comparison", what)
		}
		var scheme *bpf.SchemeError
		if err := loader.CheckScheme(bpf.Instructions); !errors.As(err, &scheme) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNoData: a loader whose map's contents are not known is not signed, or judged.
func TestNoData(t *testing.T) {
	for _, name := range []string{"allowlist-6.18-rsa2048", "allowlist-7.3-rsa2048"} {
		_, s := skeleton(t, name)
		for _, data := range [][]byte{nil, {}} {
			bare := bpf.Loader{Instructions: s.Instructions, Data: data, Signature: s.Signature}
			if _, err := bare.Sign(t.Context(), newSigner(t, "rsa2048")); !errors.Is(err, bpf.ErrNoData) {
				t.Errorf("%s: %v", name, err)
			}
			if v, err := bpf.Verify(judge(t, "7.3", "rsa2048"), &bare); !errors.Is(err, bpf.ErrNoData) {
				t.Errorf("%s: %v, %v", name, v, err)
			}
		}
	}
}
