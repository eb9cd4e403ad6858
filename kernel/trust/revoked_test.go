package trust_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"
)

// TestImageRevokes: what is built into an image to be refused is found, and the list of
// trusted certificates is not taken for that.
func TestImageRevokes(t *testing.T) {
	rsa, ec := key(t, "rsa2048.pem"), key(t, "p384.pem")
	good := read(t, "../../testdata/golden/hello-rsa2048-sha256.ko")
	const hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for name, c := range map[string]struct {
		revoked []string
		hashes  string
		want    syscall.Errno
		entries string
	}{
		"nothing":      {nil, "", 0, ""},
		"the signer":   {[]string{rsa}, "", syscall.EKEYREJECTED, ""},
		"another":      {[]string{ec}, "", 0, ""},
		"two":          {[]string{ec, rsa}, "", syscall.EKEYREJECTED, ""},
		"hashes":       {nil, "tbs:" + hash + "\x00bin:" + hash + "\x00", 0, "bin:" + hash + " tbs:" + hash},
		"no hashes":    {nil, "tbs:%s\x00tbs:00ff\x00bin:" + hash + "0\x00bin:" + strings.ToUpper(hash) + "\x00", 0, ""},
		"both, a hash": {[]string{rsa}, "tbs:" + hash + "\x00", syscall.EKEYREJECTED, "tbs:" + hash},
	} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			image := append(vmlinux(t, order, 0, rsa, ec), c.hashes...)
			image = append(image, make([]byte, 8-len(image)%8)...)
			var list []byte
			for _, name := range c.revoked {
				list = append(list, readCertificate(t, name).Raw...)
			}
			image = append(image, list...)
			image = append(image, make([]byte, (8-len(list)%8)%8)...)
			image = append(order.AppendUint64(image, uint64(len(list))), bytes.Repeat([]byte("\xe8code"), 100)...)
			ring, err := load(t, image)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ring.Blacklisted(), " "); got != c.entries || ring.Size() != 2 {
				t.Errorf("%s: entries %q, %d trusted", name, got, ring.Size())
			}
			if v := judge(t, ring, good); v.Errno != c.want {
				t.Errorf("%s: %v %s", name, v.Errno, v.Reason)
			}
		}
	}
}
