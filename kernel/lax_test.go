package kernel_test

import (
	"bytes"
	"slices"
	"testing"

	"sign-file/cms"
	"sign-file/internal/scheme"
	"sign-file/kernel"
)

// TestMalleability is the count of section 1.2: every single-bit change of a signed
// file that kernel 6.12 still accepted, in a file signed by RSA-2048 and named by
// issuer and serial number. They are in these places, and no other.
func TestMalleability(t *testing.T) {
	file := golden(t, "hello-rsa2048-sha256.ko")
	start := len(read(t, "../testdata/hello.ko"))
	j := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem"))
	message := file[start:]
	oid := start + bytes.Index(message, []byte("\x60\x86\x48\x01\x65\x03\x04\x02\x01"))
	null := start + bytes.LastIndex(message, []byte("\x05\x00"))
	constructed, sets, inOID, inNull := 0, 0, 0, 0
	for at := start; at < len(file); at++ {
		for bit := range 8 {
			file[at] ^= 1 << bit
			v := onModule(t, j, file)
			was := file[at] ^ 1<<bit
			file[at] = was
			switch {
			case !v.Accepted:
				continue
			case v.Lax == "":
				t.Errorf("byte %d bit %d: nothing said about a change that no signer makes", at-start, bit)
			}
			switch {
			case at >= oid && at < oid+9:
				inOID++
			case at == null:
				inNull++
			case bit == 5 && was&0x20 != 0:
				constructed++
			case bit == 0 && was == 0x31:
				sets++
			default:
				t.Errorf("byte %d bit %d: accepted", at-start, bit)
			}
		}
	}
	if inOID != 72 || inNull != 8 || constructed+sets != 94-72-8 {
		t.Errorf("%d in the OID of digestAlgorithms, %d in the tag of NULL, %d constructed bits, %d sets; want 94 in all",
			inOID, inNull, constructed, sets)
	}
}

// TestBER: what the kernel reads though it's not DER, and what it does not.
func TestBER(t *testing.T) {
	data := read(t, "../testdata/hello.ko")
	message := golden(t, "rsa2048-sha256.p7s")
	j := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem"))
	// The three outermost elements, each with a length of two octets.
	content := message[4+11+4+4:]
	id := message[4:15]
	join := func(parts ...string) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	open, end := "\x80", "\x00\x00"
	for name, c := range map[string]struct {
		message []byte
		want    bool
	}{
		"indefinite lengths":      {join("\x30", open, string(id), "\xa0", open, "\x30", open, string(content), end, end, end), true},
		"end missing":             {join("\x30", open, string(id), "\xa0", open, "\x30", open, string(content), end, end), false},
		"end not two zeros":       {join("\x30", open, string(id), "\xa0", open, "\x30", open, string(content), end, end, "\x00\x01"), false},
		"primitive, indefinite":   {join("\x10", open, string(id), "\xa0", open, "\x30", open, string(content), end, end, end), false},
		"length of three octets":  {join("\x30\x83\x00", string(message[2:])), false},
		"long tag":                {join("\x3f\x10", string(message[1:])), false},
		"nothing":                 {nil, false},
		"a tag":                   {message[:1], false},
		"without the SignedData":  {join("\x30\x0b", string(id)), false},
		"data beyond the element": {join("\x30\x20", string(message[4:])), false},
	} {
		t.Run(name, func(t *testing.T) {
			v := onMessage(t, j, c.message, data)
			if v.Accepted != c.want || c.want && v.Lax == "" {
				t.Errorf("accepted %v (%s), lax %q", v.Accepted, v.Reason, v.Lax)
			}
		})
	}
}

// FuzzMessage: whatever the bytes are, there is a verdict; a refusal has an errno;
// and what this program's strict parser takes, the kernel's rules read too, unless
// it's for their own reasons.
func FuzzMessage(f *testing.F) {
	for _, name := range []string{"rsa2048-sha256", "rsa2048-sha256-k", "p384-sha512", "rsa2048-md5", "issued-by-ca-sha256"} {
		f.Add(golden(f, name+".p7s"))
	}
	data := []byte("data")
	j := judge(f, "6.12", kernel.MapValue, key(f, "rsa2048.pem"), key(f, "p384.pem"))
	f.Fuzz(func(t *testing.T, message []byte) {
		v := onMessage(t, j, message, data)
		if v.Accepted == (v.Errno != 0) || v.Accepted != (len(v.Signers) > 0) || !v.Accepted && v.Reason == "" {
			t.Errorf("verdict %+v", v)
		}
		if parsed, err := cms.Parse(message); err == nil && v.Func == "asn1_ber_decoder" && !hasInnerASN1(parsed) {
			t.Errorf("strict DER is malformed to the kernel: %s", v.Reason)
		}
	})
}

// hasInnerASN1 tells that there are values in a message which the strict parser does
// not look into, and the kernel decodes later: certificates and ECDSA signatures.
func hasInnerASN1(message *cms.SignedData) bool {
	return message.Certificates != nil || slices.ContainsFunc(message.Signers, func(s cms.SignerInfo) bool {
		return !s.Algorithm.OID.Equal(scheme.OIDRSA())
	})
}

// FuzzCertificate: as FuzzMessage, for the certificate parser.
func FuzzCertificate(f *testing.F) {
	for _, name := range []string{"rsa2048", "p384", "p521", "odd/expired", "odd/issued-by-ca"} {
		for _, c := range certificates(f, key(f, name+".pem")) {
			f.Add(c.Raw)
		}
	}
	j := judge(f, "7.3", kernel.Module)
	f.Fuzz(func(t *testing.T, der []byte) {
		v, err := j.Certificate(der)
		if err != nil {
			return // P-192 and ML-DSA are not decided here
		}
		if v.Accepted == (v.Errno != 0) {
			t.Errorf("verdict %+v", v)
		}
	})
}
