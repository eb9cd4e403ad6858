package kernel_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"sign-file/kernel"
)

// Section numbers are those of the table of rules that was measured on booted
// kernels 6.1, 6.12, 6.18 and 7.3; each expectation is what they answered.

// changed is a copy with one byte changed, counted from the end if negative.
func changed(b []byte, at int, to byte) []byte {
	b = slices.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] = to
	return b
}

// TestContainer is section 1.1.
func TestContainer(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	message := golden(t, "rsa2048-sha256.p7s")
	good := module(data, message)
	sized := func(size uint32) []byte {
		return slices.Concat(data, message, []byte{0, 0, 2, 0, 0, 0, 0, 0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, []byte(marker))
	}
	size := uint32(len(message))
	cases := map[string]struct {
		file []byte
		want syscall.Errno
	}{
		"good":                        {good, 0},
		"signed twice":                {golden(t, "hello-rsa2048-sha256-twice.ko"), 0},
		"not even an ELF header":      {good[:63], syscall.ENOEXEC},
		"unsigned":                    {data, syscall.ENODATA},
		"newline behind the marker":   {append(slices.Clone(good), '\n'), syscall.ENODATA},
		"broken marker":               {changed(good, -1, 'x'), syscall.ENODATA},
		"id_type":                     {changed(good, -38, 1), syscall.ENOPKG},
		"id_type before other fields": {changed(changed(good, -38, 1), -40, 1), syscall.ENOPKG},
		"length one short":            {sized(size - 1), syscall.EBADMSG},
		"length one more":             {sized(size + 1), syscall.EBADMSG},
		"length zero":                 {sized(0), syscall.EBADMSG},
		"length of everything":        {sized(uint32(len(data)) + size), syscall.EBADMSG},
		"length beyond the file":      {sized(1 << 31), syscall.EBADMSG},
		"too long for the decoder":    {module(data, append(slices.Clone(message), make([]byte, 65536)...)), syscall.EMSGSIZE},
		"as long as the decoder does": {module(data, append(slices.Clone(message), make([]byte, 65535-len(message))...)), 0},
	}
	for i, field := range []int{-40, -39, -37, -36, -35, -34, -33} {
		c := cases["good"]
		c.file, c.want = changed(good, field, 1), syscall.EBADMSG
		cases[fmt.Sprintf("field %d not zero", i)] = c
	}
	j := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem"))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { check(t, onModule(t, j, c.file), c.want) })
	}
}

// TestEmptyFile: sign-file signs an empty file, and no kernel takes it (section 1.1).
func TestEmptyFile(t *testing.T) {
	message := signCMS(t, nil, append(by(t, "rsa2048"), "-noattr", "-nocerts")...)
	check(t, onModule(t, judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem")), module(nil, message)), syscall.EBADMSG)
}

// TestLoad is the table of section 1.5: what the signature check says, and what
// init_module returns without and with sig_enforce.
func TestLoad(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	good := golden(t, "hello-rsa2048-sha256.ko")
	attributes := module(data, signCMS(t, data, append(by(t, "rsa2048"), "-nocerts", "-nosmimecap")...))
	const rejected = syscall.EKEYREJECTED
	cases := []struct {
		name               string
		file               []byte
		errno, lax, strict syscall.Errno
		log, strictLog     string
	}{
		{"good", good, 0, 0, 0, "", ""},
		{"unknown key", golden(t, "hello-rsa4096-sha512.ko"), syscall.ENOKEY, 0, rejected, "", "Loading of module with unavailable key is rejected"},
		{"unknown key, tampered", changed(golden(t, "hello-rsa4096-sha512.ko"), 100, 0xaa), syscall.ENOKEY, 0, rejected, "", "Loading of module with unavailable key is rejected"},
		{"unsigned", data, syscall.ENODATA, 0, rejected, "", "Loading of unsigned module is rejected"},
		{"digest", module(data, golden(t, "rsa2048-ripemd160.p7s")), syscall.ENOPKG, 0, rejected, "Unsupported digest algo:", "Loading of module with unsupported crypto is rejected"},
		{"id_type", changed(good, -38, 1), syscall.ENOPKG, 0, rejected, "not signed with expected PKCS#7 message", "Loading of module with unsupported crypto is rejected"},
		{"data tampered", changed(good, 100, 0xaa), rejected, rejected, rejected, "", ""},
		{"signature tampered", changed(good, -41, good[len(good)-41]^1), rejected, rejected, rejected, "", ""},
		{"field not zero", changed(good, -40, 1), syscall.EBADMSG, syscall.EBADMSG, syscall.EBADMSG, "PKCS#7 signature info has unexpected non-zero params", "PKCS#7 signature info has unexpected non-zero params"},
		{"bad ASN.1", changed(good, len(data), 0x31), syscall.EBADMSG, syscall.EBADMSG, syscall.EBADMSG, "", ""},
		{"signed attributes", attributes, rejected, rejected, rejected, "PKCS7: Invalid module sig (has authattrs)", "PKCS7: Invalid module sig (has authattrs)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem"))
			v := onModule(t, j, c.file)
			check(t, v, c.errno)
			if v.Loads != (c.lax == 0) || v.LoadErrno != c.lax || v.Taints != (c.errno != 0 && c.lax == 0) || v.Log != c.log {
				t.Errorf("without sig_enforce: loads %v, taints %v, errno %d, log %q", v.Loads, v.Taints, v.LoadErrno, v.Log)
			}
			rules := *j.Kernel()
			rules.Enforce = true
			j = trusting(t, &rules, kernel.Module, key(t, "rsa2048.pem"))
			v = onModule(t, j, c.file)
			check(t, v, c.errno)
			if v.Loads != (c.strict == 0) || v.LoadErrno != c.strict || v.Taints || v.Log != c.strictLog {
				t.Errorf("with sig_enforce: loads %v, taints %v, errno %d, log %q", v.Loads, v.Taints, v.LoadErrno, v.Log)
			}
			if !v.Accepted && v.Advice == "" {
				t.Error("no advice")
			}
		})
	}
}

// TestUsage is section 1.3: the same bytes may be a good map value and a bad module.
func TestUsage(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	rsa := by(t, "rsa2048")
	plain := signCMS(t, data, append(rsa, "-nocerts", "-noattr")...)
	attributes := signCMS(t, data, append(rsa, "-nocerts", "-nosmimecap")...)
	const rejected = syscall.EKEYREJECTED
	for _, c := range []struct {
		name                    string
		message                 []byte
		module, value, firmware syscall.Errno
	}{
		{"plain", plain, 0, 0, rejected},
		{"signed attributes", attributes, rejected, 0, 0},
		{"S/MIME capabilities", signCMS(t, data, append(rsa, "-nocerts")...), rejected, rejected, rejected},
		{"attached", signCMS(t, data, append(rsa, "-nocerts", "-noattr", "-nodetach")...), syscall.EBADMSG, syscall.EBADMSG, syscall.EBADMSG},
		{"other content type", signCMS(t, data, append(rsa, "-nocerts", "-noattr", "-econtent_type", "1.2.3.4")...), syscall.EINVAL, syscall.EINVAL, syscall.EINVAL},
		{"RSA-PSS", signCMS(t, data, append(rsa, "-nocerts", "-noattr", "-keyopt", "rsa_padding_mode:pss")...), syscall.ENOPKG, syscall.ENOPKG, syscall.ENOPKG},
		{"bytes behind the message", append(slices.Clone(plain), "more"...), 0, 0, rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			for usage, want := range map[kernel.Usage]syscall.Errno{
				kernel.Module: c.module, kernel.MapValue: c.value, kernel.BPF: c.value, kernel.Firmware: c.firmware,
			} {
				check(t, onMessage(t, judge(t, "6.12", usage, key(t, "rsa2048.pem")), c.message, data), want)
			}
		})
	}
	t.Run("tampered, and nobody trusted", func(t *testing.T) {
		// With attributes the data is compared before a key is looked for.
		j := judge(t, "6.12", kernel.MapValue)
		check(t, onMessage(t, j, attributes, []byte("other data")), rejected)
		check(t, onMessage(t, j, attributes, data), syscall.ENOKEY)
		check(t, onMessage(t, j, plain, []byte("other data")), syscall.ENOKEY)
	})
	t.Run("said to be odd", func(t *testing.T) {
		v := onMessage(t, judge(t, "6.12", kernel.MapValue, key(t, "rsa2048.pem")), append(slices.Clone(plain), "more"...), data)
		if v.Lax == "" {
			t.Error("nothing said about bytes that no signer writes")
		}
	})
}

// TestDigests is what section 1.6 says of digests and kernels.
func TestDigests(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	const none = syscall.ENOPKG
	for _, c := range []struct {
		file            string
		k61, bare61     syscall.Errno // bare: without modules for crypto
		k612, k70       syscall.Errno
		bare612, bare70 syscall.Errno
		ecdsa           bool // which is off in 6.1
	}{
		{file: "rsa2048-sha1"}, {file: "rsa2048-sha224"}, {file: "rsa2048-sha256"}, {file: "rsa2048-sha256-k"},
		{file: "rsa2048-sha384", bare61: none}, {file: "rsa2048-sha512", bare61: none},
		{file: "rsa2048-md5", k612: none, k70: none, bare612: none, bare70: none},
		{file: "rsa2048-sha3-256", k61: none, bare61: none, bare70: none},
		{file: "rsa2048-sha3-384", k61: none, bare61: none, bare70: none},
		{file: "rsa2048-sha3-512", k61: none, bare61: none, bare70: none},
		{file: "rsa2048-sha3-224", k61: none, bare61: none, k612: none, k70: none, bare612: none, bare70: none},
		{file: "rsa2048-sha512-256", k61: none, bare61: none, k612: none, k70: none, bare612: none, bare70: none},
		{file: "rsa2048-ripemd160", k61: none, bare61: none, k612: none, k70: none, bare612: none, bare70: none},
		{file: "rsa3072-sha256"}, {file: "rsa4096-sha256"},
		{file: "p256-sha512", ecdsa: true}, {file: "p384-sha256", ecdsa: true}, {file: "p521-sha256", ecdsa: true},
		{file: "p384-sha3-256", k61: none, bare61: none, bare70: none},
	} {
		t.Run(c.file, func(t *testing.T) {
			name, _, _ := bytes.Cut([]byte(c.file), []byte("-"))
			if c.ecdsa {
				c.k61, c.bare61 = syscall.ENOKEY, syscall.ENOKEY // 6.1 doesn't take the certificate
			}
			switch c.file {
			case "p256-sha512":
				c.bare61 = none
			case "p384-sha256":
				// Without the hash of its own signature the certificate is taken unchecked.
				c.bare61 = syscall.EKEYREJECTED
			}
			for _, k := range []struct {
				release    string
				want, bare syscall.Errno
			}{{"6.1.0-50-amd64", c.k61, c.bare61}, {"6.12.107", c.k612, c.bare612}, {"6.18", c.k612, c.bare612}, {"7.3.4", c.k70, c.bare70}} {
				j := judge(t, k.release, kernel.MapValue, key(t, string(name)+".pem"))
				check(t, onMessage(t, j, golden(t, c.file+".p7s"), data), k.want)
				rules := j.Kernel()
				rules.NoAutoload = true
				j = trusting(t, rules, kernel.MapValue, key(t, string(name)+".pem"))
				check(t, onMessage(t, j, golden(t, c.file+".p7s"), data), k.bare)
			}
		})
	}
}

// TestBlacklistedModule: Debian's kernels up to 6.12 look up a signed module's own
// hash (section 1.4); 7.3 loads it.
func TestBlacklistedModule(t *testing.T) {
	file := golden(t, "hello-rsa2048-sha256.ko")
	sum := sha256.Sum256(file)
	var ring kernel.Ring
	ring.Add(certificates(t, key(t, "rsa2048.pem"))...)
	if err := ring.Blacklist("bin:" + hex.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	check(t, onModule(t, newJudge(t, "6.12", kernel.Module, &ring), file), syscall.EKEYREJECTED)
	check(t, onModule(t, newJudge(t, "7.3", kernel.Module, &ring), file), 0)
	check(t, onModule(t, newJudge(t, "6.12", kernel.Module, &ring), golden(t, "hello-rsa2048-sha256-k.ko")), 0)
}

// TestKernelOf: a kernel goes by the newest rules that are not newer.
func TestKernelOf(t *testing.T) {
	for release, want := range map[string]string{
		"6.1": "6.1", "6.1.0-50-cloud-amd64": "6.1", "6.6.30": "6.1", "6.12.107+deb13-amd64": "6.12", "6.17-rc1": "6.12",
		"6.18.44-fc": "6.18", "7.0": "7.0", "7.3.4": "7.0", "10.0": "7.0",
	} {
		k, err := kernel.Of(release)
		if err != nil || k.Name != want {
			t.Errorf("%s: %v, %v; want %s", release, k, err, want)
		}
	}
	for _, release := range []string{"", "6", "5.10.0", "six.one", "6.", ".1", "99999.1"} {
		if k, err := kernel.Of(release); err == nil {
			t.Errorf("%q: kernel %s", release, k.Name)
		}
	}
}
