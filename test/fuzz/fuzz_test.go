// Package fuzz has the fuzz targets in the form that OSS-Fuzz compiles: in one file, without
// helpers, seeds or files of the test data, as packaging/oss-fuzz/build.sh does not take
// them from external test packages. The targets beside the code ask more of the answers.
package fuzz

import (
	"bytes"
	"io"
	"testing"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/kernel"
	"sign-file/keys"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
)

// FuzzMapValue: what is read of a value is in it.
func FuzzMapValue(f *testing.F) {
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := mapvalue.Decode(value)
		if err == nil && len(v.Data)+len(v.Tail) > len(value) {
			t.Errorf("%d bytes have %d of data and %d of tail", len(value), len(v.Data), len(v.Tail))
		}
	})
}

// FuzzTrailer looks for the signature behind a module.
func FuzzTrailer(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		r, size := bytes.NewReader(file), int64(len(file))
		signed, err := modsig.HasMarker(r, size)
		if signed && err == nil && !bytes.HasSuffix(file, []byte("~Module signature appended~\n")) {
			t.Error("signed without the marker")
		}
		_ = modsig.Damaged(r, size)
	})
}

// FuzzMessage parses PKCS#7.
func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		if parsed, err := cms.Parse(message); err == nil && parsed == nil {
			t.Error("neither a message nor an error")
		}
	})
}

// FuzzCertificate parses files with certificates.
func FuzzCertificate(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := certificate.All(file)
		if err == nil && len(all) == 0 {
			t.Error("neither a certificate nor an error")
		}
		_, _ = certificate.First(file)
	})
}

// FuzzKey reads private keys that are not encrypted.
func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		key, err := keys.Parse(file, nil)
		if (key == nil) == (err == nil) {
			t.Errorf("key %v, error %v", key, err)
		}
	})
}

// FuzzKeyName: what is shown of a reference to a key has no control characters.
func FuzzKeyName(f *testing.F) {
	f.Fuzz(func(t *testing.T, reference string) { _ = keys.Name(reference) })
}

// FuzzVerdict judges messages, values, modules and certificates as each kernel does.
func FuzzVerdict(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind, series uint8, file, data []byte) {
		all := kernel.Series()
		k, err := kernel.Of(all[int(series)%len(all)])
		if err != nil {
			t.Fatal(err)
		}
		j := kernel.NewJudge(k, new(kernel.Ring), kernel.MapValue)
		var v *kernel.Verdict
		switch kind % 4 {
		case 0:
			v, err = j.Message(file, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
		case 1:
			v, err = j.MapValue(file)
		case 2:
			v, err = kernel.NewJudge(k, new(kernel.Ring), kernel.Module).Module(bytes.NewReader(file), int64(len(file)))
		case 3:
			v, err = j.Certificate(file)
		}
		if err == nil && v.Accepted == (v.Errno != 0) {
			t.Errorf("verdict %+v", v)
		}
		if err == nil && kind%4 < 2 && v.Accepted {
			t.Error("accepted, and nobody is trusted")
		}
	})
}

// FuzzContainer judges compressed modules.
func FuzzContainer(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		c := kernel.ContainerOf(bytes.NewReader(file), int64(len(file)), 1000)
		if c.Format == "" && c.Problem == "" {
			t.Error("neither a format nor a problem")
		}
	})
}

// FuzzELF looks at the head of a module.
func FuzzELF(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) { _ = kernel.CheckELF(bytes.NewReader(file), int64(len(file))) })
}

// FuzzName formats and parses names of certificates.
func FuzzName(f *testing.F) {
	f.Fuzz(func(t *testing.T, der []byte, text string) {
		_, _ = certificate.FormatName(der), certificate.OneLine(der)
		if made, err := certificate.ParseName(text); err == nil && certificate.FormatName(made) == "" && text != "/" {
			t.Errorf("%q is a name without a name", text)
		}
	})
}

// FuzzExplain looks for the cause of what was seen.
func FuzzExplain(f *testing.F) {
	f.Fuzz(func(t *testing.T, seen string) { _ = kernel.Explain(seen) })
}
