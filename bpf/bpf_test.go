package bpf_test

import (
	"bytes"
	"context"
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
		{"before signatures", "6.12", "rsa2048", &new.Loader, syscall.E2BIG, "bpf_check_uarg_tail_zero"},
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
const arrays = `char opts_data[] = "d"; char opts_insn[] = "\0\x01\2345678"; char opts_sig[] = "s"; char opts_excl_hash[] = "h";`

// TestSpelling: what a C compiler takes for the same arrays is read as the same.
func TestSpelling(t *testing.T) {
	code := "\x00\x01\x9c5678"
	for name, source := range map[string]string{
		"plain":       arrays,
		"no space":    strings.ReplaceAll(arrays, " = ", "="),
		"lines":       strings.ReplaceAll(arrays, " = ", "\n\t=\n\t"),
		"CRLF":        strings.ReplaceAll(strings.ReplaceAll(arrays, " = ", "\r\n=\r\n"), `"d"`, "\"\\\r\nd\\\r\n\""),
		"attribute":   strings.ReplaceAll(arrays, "[] ", `[] __attribute__((__aligned__(8))) `),
		"brackets":    strings.ReplaceAll(arrays, "[]", `[ /* a */ ]`),
		"parts":       strings.ReplaceAll(arrays, `"d"`, "\"\" /* a */ \"d\" // b\n \"\""),
		"octal":       strings.ReplaceAll(arrays, `\0\x01\234`, `\000\001\x9c""`),
		"continued":   strings.ReplaceAll(arrays, `\0\x01`, "\\\n\\0\\\n\\x01\\\n"),
		"comments":    `/* opts_sig[] = "x"; */ // opts_sig[] = "y";` + "\n" + arrays,
		"in a string": `char *s = "opts_sig[] = \"z\";";` + arrays,
		"mentioned":   arrays + `opts.signature_sz = sizeof(opts_sig) - 1; p = opts_sig; extern char opts_data[];`,
		"apostrophe":  "#if 0\ndon't\n#endif\n" + arrays + `char c = '"', d = '\'';`,
	} {
		s, err := bpf.ParseSkeleton([]byte(source))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c := compiled(t, source); name != "mentioned" && c != fmt.Sprintf("%x %x %x %x\n", s.Instructions, s.Data, s.Signature, s.ExclusiveHash) {
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
	program := "#include <stdio.h>\n" + source + `
#define show(array, end) for (size_t i = 0; i + 1 < sizeof(array); i++) printf("%02x", array[i] & 0xff); printf(end)
int main(void) { show(opts_insn, " "); show(opts_data, " "); show(opts_sig, " "); show(opts_excl_hash, "\n"); }
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
		replace(`char opts_insn[] = "\0\x01\2345678";`, ""):             "not a light skeleton",
		replace(`char opts_sig[] = "s";`, ""):                           "is not signed",
		replace(`char opts_excl_hash[] = "h";`, ""):                     "is not signed",
		"opts.insns = (void *)\"x\"; err = bpf_load_and_run(&opts);":    "is not signed",
		arrays + `char opts_sig[] = "t";`:                               "opts_sig is defined twice",
		replace(`"s"`, `s`):                                             "opts_sig is no string",
		replace(`"s"`, `{ 1, 2 }`):                                      "opts_sig is no string",
		replace(`opts_sig[]`, `opts_sig[8]`):                            "opts_sig has a size of its own",
		replace(`"s"`, `"s" + 1`):                                       "opts_sig is no string",
		replace(`"s"`, `"s`):                                            "",
		replace(`"s";`, `"s`):                                           "",
		replace(`"s"`, `"\x"`):                                          "an escape without digits",
		replace(`"s"`, `"\x100"`):                                       "larger than a byte",
		replace(`"s"`, `"\400"`):                                        "larger than a byte",
		replace(`"s"`, `"\q"`):                                          "an escape that C does not have",
		replace(`"s"`, "\"s\n\""):                                       "does not end on its line",
		arrays + `"`:                                                    "a string that does not end",
		arrays + `"\`:                                                   "a string that does not end",
		arrays + "\n\n\"":                                               "line 3",
		arrays[:60]:                                                     "",
		strings.Repeat("opts_sig[] x ", 100_000):                        "not a light skeleton",
		strings.Repeat("opts_sig", 100_000):                             "not a light skeleton",
		strings.Repeat("/*", 100_000) + strings.Repeat(`"\`, 100_000):   "not a light skeleton",
		strings.Repeat(`opts_sig[] = "" `, 50_000):                      "opts_sig is no string",
		`opts_sig[] = ` + strings.Repeat(`"\x41"`, 100_000) + `; /*`:    "not a light skeleton",
		strings.Repeat("'", 100_000) + "opts_sig[] = \"a\"; '\\":        "not a light skeleton",
		string(make([]byte, bpf.MaxSkeleton+1)):                         "kernels take at most",
		"opts_sig[" + strings.Repeat("9", 100_000) + "] = \"\"; char x": "has a size of its own",
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
