package modsig_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"sign-file/kernel"
	modsig "sign-file/module_signature"
)

// trailer is struct module_signature and the marker, written by hand.
func trailer(fields [8]byte, size uint32) []byte {
	return append(binary.BigEndian.AppendUint32(fields[:], size), "~Module signature appended~\n"...)
}

var pkcs7 = [8]byte{2: 2}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// The checks of module_sig_check, mod_verify_sig and mod_check_sig, in their order:
// kernel.md, §1.1, measured with init_module.
func TestFind(t *testing.T) {
	content, message := []byte("content"), []byte("message")
	field := func(i int) [8]byte { f := pkcs7; f[i] ^= 1; return f }
	for name, c := range map[string]struct {
		file []byte
		want error // ErrUnsigned, an errno, or nil
		size int64 // of the content
	}{
		"signed":              {join(content, message, trailer(pkcs7, 7)), nil, 7},
		"one byte of content": {join([]byte("c"), message, trailer(pkcs7, 7)), nil, 1},
		"empty signature":     {join(content, trailer(pkcs7, 0)), nil, 7},
		"signed twice":        {join(content, message, trailer(pkcs7, 7), message, trailer(pkcs7, 7)), nil, 54},
		"empty file":          {nil, modsig.ErrUnsigned, 0},
		"no marker":           {content, modsig.ErrUnsigned, 0},
		"marker alone":        {[]byte(modsig.Marker), modsig.ErrUnsigned, 0},
		"marker, not at end":  {join(content, message, trailer(pkcs7, 7), []byte("\n")), modsig.ErrUnsigned, 0},
		"marker without end":  {[]byte(strings.TrimSuffix("content"+modsig.Marker, "\n")), modsig.ErrUnsigned, 0},
		"marker after a byte": {[]byte("c" + modsig.Marker), syscall.EBADMSG, 0},
		"trailer alone":       {trailer(pkcs7, 0), syscall.EBADMSG, 0},
		"no content":          {join(message, trailer(pkcs7, 7)), syscall.EBADMSG, 0},
		"signature too long":  {join(content, message, trailer(pkcs7, 15)), syscall.EBADMSG, 0},
		"huge signature":      {join(content, message, trailer(pkcs7, 1<<32-1)), syscall.EBADMSG, 0},
		"algo":                {join(content, message, trailer(field(0), 7)), syscall.EBADMSG, 0},
		"hash":                {join(content, message, trailer(field(1), 7)), syscall.EBADMSG, 0},
		"id_type":             {join(content, message, trailer(field(2), 7)), syscall.ENOPKG, 0},
		"signer_len":          {join(content, message, trailer(field(3), 7)), syscall.EBADMSG, 0},
		"key_id_len":          {join(content, message, trailer(field(4), 7)), syscall.EBADMSG, 0},
		"pad":                 {join(content, message, trailer(field(7), 7)), syscall.EBADMSG, 0},
		"size before id_type": {join(content, message, trailer(field(2), 99)), syscall.EBADMSG, 0},
	} {
		layout, err := modsig.Find(bytes.NewReader(c.file), int64(len(c.file)))
		if refusal := kernel.RefusalOf(err); refusal != nil {
			err = refusal
		}
		if !errors.Is(err, c.want) || layout.ContentSize != c.size {
			t.Errorf("%s: content of %d bytes, %v; want %d, %v", name, layout.ContentSize, err, c.size, c.want)
		}
	}
}

func TestTrailer(t *testing.T) {
	signed, err := os.ReadFile("../testdata/golden/hello-rsa2048-sha256.ko")
	if err != nil {
		t.Fatal(err)
	}
	layout, err := modsig.Find(bytes.NewReader(signed), int64(len(signed)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := modsig.Trailer(layout.SignatureSize())
	if err != nil || !bytes.HasSuffix(signed, got) || len(got) != modsig.TrailerSize {
		t.Errorf("%v: %q, not the end of the real sign-file's module", err, got)
	}
	if _, err := modsig.Trailer(-1); err == nil {
		t.Error("a trailer for less than nothing")
	}
	if _, err := modsig.Trailer(1 << 32); err == nil {
		t.Error("a size of 33 bits is taken")
	}
}

// A file that changes while it's read.
func TestFindShrunk(t *testing.T) {
	if _, err := modsig.Find(strings.NewReader("short"), 1000); err == nil || errors.Is(err, modsig.ErrUnsigned) {
		t.Errorf("%v", err)
	}
}

func FuzzFind(f *testing.F) {
	f.Add(join([]byte("content"), []byte("message"), trailer(pkcs7, 7)))
	f.Add(join([]byte("content"), trailer(pkcs7, 1<<32-1)))
	f.Fuzz(func(t *testing.T, file []byte) {
		layout, err := modsig.Find(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		end, err := modsig.Trailer(layout.SignatureSize())
		if err != nil || layout.ContentSize < 1 ||
			layout.ContentSize+layout.SignatureSize()+int64(len(end)) != int64(len(file)) || !bytes.HasSuffix(file, end) {
			t.Errorf("%q: %+v", file, layout)
		}
	})
}
