package bpf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sign-file/bpf"
	"sign-file/certificate"
	"sign-file/digest"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/signfile"
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
	unsigned := func(l bpf.Loader) *bpf.Loader {
		l.Signature = []byte{}
		return &l
	}
	followed := old.Loader
	followed.Instructions = append(bytes.Clone(old.Instructions), 1, 2, 3)
	with := func(instruction ...byte) *bpf.Loader { // in a program without data
		code := slices.Concat(instruction, []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0})
		l := &bpf.Loader{Instructions: code, Data: make([]byte, 8)}
		message, err := newSigner(t, "rsa2048").Detach(t.Context(), bytes.NewReader(l.Payload(bpf.InstructionsAndMap)))
		if err != nil {
			t.Fatal(err)
		}
		l.Signature = message
		return l
	}
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
		{"new, an empty signature", "7.3", "rsa2048", unsigned(new.Loader), syscall.EINVAL, "bpf_prog_verify_signature"},
		{"old, an empty signature", "7.2", "rsa2048", unsigned(old.Loader), syscall.EBADMSG, "asn1_ber_decoder"},
		{"a few bytes behind the instructions", "7.2", "rsa2048", &followed, accepted, ""},
		{"plain", "7.3", "rsa2048", with(0xbf, 0x16, 0, 0, 0, 0, 0, 0), accepted, ""},
		{"a map by its descriptor", "7.3", "rsa2048", with(0x18, 0x11, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), syscall.EINVAL, "check_and_resolve_insns"},
		{"a map's value by its descriptor", "7.3", "rsa2048", with(0x18, 0x21, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), syscall.EINVAL, "check_and_resolve_insns"},
		{"a variable of the kernel", "7.3", "rsa2048", with(0x18, 0x31, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), syscall.EACCES, "__add_used_btf"},
		{"a module's function", "7.3", "rsa2048", with(0x85, 0x20, 1, 0, 3, 0, 0, 0), syscall.EACCES, "fd_array_get_btf"},
		{"a kernel's function", "7.3", "rsa2048", with(0x85, 0x20, 0, 0, 3, 0, 0, 0), accepted, ""},
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
	for release, l := range map[string]bpf.Loader{"7.2": old.Loader, "7.3": new.Loader} {
		l.Signature = nil
		if v, err := bpf.Verify(judge(t, release, "rsa2048"), &l); err == nil {
			t.Errorf("%s decided about a program without a signature: %+v", release, v)
		}
	}
	if _, err := bpf.Verify(nil, &old.Loader); err == nil {
		t.Error("decided without a kernel")
	}
}

// TestConfiguration: a kernel that was built without what verifies programs says so to each of
// them. Without CONFIG_SYSTEM_DATA_VERIFICATION Linux 6.18.44 was seen to return EOPNOTSUPP.
func TestConfiguration(t *testing.T) {
	_, old := skeleton(t, "allowlist-6.18-rsa2048")
	const enough = "CONFIG_CRYPTO_SHA256=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_KEYS=y\nCONFIG_SYSTEM_DATA_VERIFICATION=y\n"
	for _, test := range []struct {
		without string
		errno   syscall.Errno
	}{{"-", 0}, {"CONFIG_SYSTEM_DATA_VERIFICATION=y", syscall.EOPNOTSUPP}, {"CONFIG_KEYS=y", syscall.EINVAL}, {"CONFIG_BPF_SYSCALL=y", syscall.ENOSYS}} {
		path := filepath.Join(t.TempDir(), "config")
		text := "# Linux/x86 6.18.44 Kernel Configuration\n" + strings.Replace(enough, test.without, "# "+strings.TrimSuffix(test.without, "=y")+" is not set", 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := kernel.OfConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		var ring kernel.Ring
		ring.Add(cert(t, "rsa2048"))
		v, err := bpf.Verify(kernel.NewJudgeOf(rules, &ring, kernel.BPF, kernel.Builtin), &old.Loader)
		if err != nil {
			t.Errorf("without %s: %v", test.without, err)
			continue
		}
		if v.Errno != test.errno || v.Accepted != (test.errno == 0) || !v.Accepted && v.Cause != "not-built" {
			t.Errorf("without %s: %s, %s: %s", test.without, v.Name(), v.Cause, v.Reason)
		}
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
	for what, code := range map[string][]byte{
		"zeros": make([]byte, 16), "ones": bytes.Repeat([]byte{0xff}, 80), "an object": append([]byte("\x7fELF\x02\x01\x01\x00"), make([]byte, 56)...),
		"text": []byte(strings.Repeat("/* SPDX-License-Identifier: GPL-2.0 */\n\n", 8)), "no exit": old.Instructions[:len(old.Instructions)-bpf.InstructionSize],
	} {
		if _, err := (&bpf.Loader{Instructions: code}).Sign(t.Context(), signer); err == nil || !strings.Contains(err.Error(), "no BPF program") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := new.Sign(t.Context(), nil); err == nil {
		t.Error("signed by nobody")
	}
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

// TestFalseCleanup: no jump, call or end may stand in front of the comparison, or in what a
// comparison that fails goes to, and lead past it.
func TestFalseCleanup(t *testing.T) {
	for name, checked := range map[string]int{"allowlist-7.7-rsa2048": 30 + 4*7, "allowlist-6.18-rsa2048": 30 + 5 + 4*7} {
		_, genuine := skeleton(t, name)
		for at := range checked {
			past := byte(checked - at - 1)
			for what, instruction := range map[string][]byte{
				"goto":          {0x05, 0, past, 0, 0, 0, 0, 0},
				"gotol":         {0x06, 0, 0, 0, past, 0, 0, 0},
				"may_goto":      {0xe5, 0, past, 0, 0, 0, 0, 0},
				"if r7 == -22":  {0x15, 7, past, 0, 0xea, 0xff, 0xff, 0xff},
				"if r6 != 0":    {0x55, 6, past, 0, 0, 0, 0, 0},
				"if w6 == w6":   {0x1e, 0x66, past, 0, 0, 0, 0, 0},
				"a local call":  {0x85, 0x10, 0, 0, past, 0, 0, 0},
				"a helper":      {0x85, 0, 0, 0, 6, 0, 0, 0},
				"a kfunc":       {0x85, 0x20, 0, 0, 1, 0, 0, 0},
				"exit":          {0x95, 0, 0, 0, 0, 0, 0, 0},
				"something":     {0xbf, 0x66, 0, 0, 0, 0, 0, 0},
				"r7 = 0":        {0xb7, 7, 0, 0, 0, 0, 0, 0},
				"a map's value": {0x7b, 0x10, 0, 0, 0, 0, 0, 0},
			} {
				other := genuine.Loader
				other.Instructions = bytes.Clone(other.Instructions)
				copy(other.Instructions[at*bpf.InstructionSize:], instruction)
				if !bytes.Equal(other.Instructions, genuine.Instructions) && other.Scheme() == bpf.Instructions {
					t.Errorf("%s: %s in the place of instruction %d: counts as a comparison", name, what, at)
				}
			}
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
