package trust

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// GUIDs of EFI_SIGNATURE_LIST entries (UEFI specification, section 32.4.1), as
// they are in memory.
var (
	guidX509       = []byte("\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72")
	guidSHA256     = []byte("\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28")
	guidX509SHA256 = []byte("\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed")
)

// isSignatureList recognises a variable of signatures.
func isSignatureList(b []byte) bool {
	for _, guid := range [][]byte{guidX509, guidSHA256, guidX509SHA256} {
		if bytes.HasPrefix(b, guid) {
			return true
		}
	}
	return false
}

var errSignatureList = errors.New("malformed EFI signature list")

// signatureLists calls found for every entry, as parse_efi_signature_list does. A
// list is: type GUID, sizes of list, header and entry, header, entries; an entry
// its owner's GUID and data.
func signatureLists(b []byte, found func(kind, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < 28 {
			return errSignatureList
		}
		list := uint64(binary.LittleEndian.Uint32(b[16:]))
		header := uint64(binary.LittleEndian.Uint32(b[20:]))
		entry := uint64(binary.LittleEndian.Uint32(b[24:]))
		if list > uint64(len(b)) || 28+header > list || entry <= 16 || (list-28-header)%entry != 0 {
			return errSignatureList
		}
		for at := 28 + header; at < list; at += entry {
			if err := found(b[:16], b[at+16:at+entry]); err != nil {
				return err
			}
		}
		b = b[list:]
	}
	return nil
}

// addSignatureLists trusts the certificates of a db.
func (l *loader) addSignatureLists(b []byte) error {
	var all [][]byte
	err := signatureLists(b, func(kind, data []byte) error {
		if bytes.Equal(kind, guidX509) {
			all = append(all, data)
		}
		return nil
	})
	l.addList(all, func(_ int, err error) {
		l.note("a certificate in an EFI signature list: %v: the kernel passes over it", err)
	})
	return err
}

// blacklistSignatureLists does what the kernel does with a dbx. A certificate in it
// goes to a list of its own, if the kernel has one.
func (l *loader) blacklistSignatureLists(b []byte) error {
	return signatureLists(b, func(kind, data []byte) error {
		switch {
		case bytes.Equal(kind, guidX509):
			l.ring.Revoke(data)
		case bytes.Equal(kind, guidSHA256):
			return l.ring.Blacklist("bin:" + hex.EncodeToString(data))
		case bytes.Equal(kind, guidX509SHA256) && len(data) >= 32: // a time of revocation follows
			return l.ring.Blacklist("tbs:" + hex.EncodeToString(data[:32]))
		}
		return nil
	})
}
