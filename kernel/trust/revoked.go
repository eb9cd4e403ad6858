package trust

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"sync"
)

// revocationList finds the certificates that a kernel has built in to refuse them
// (certs/revocation_certificates.S): a list with its length behind it. The trusted one, the
// first that builtinList takes for that, has it too.
func revocationList(image []byte) [][]byte {
	steps, trusted := minSteps+len(image)/64, 0
	for at := 0; steps >= 0; at++ {
		next := bytes.Index(image[at:], []byte{0x30, 0x82})
		if next < 0 {
			return nil
		}
		at += next
		if trusted == 0 {
			if trusted = listAt(image[at:], &steps); trusted > 0 {
				at += trusted - 1
				continue
			}
		}
		if list := revocationsAt(image[at:], &steps); list != nil {
			return list
		}
	}
	return nil
}

// revocationsAt reads such a list that begins here, nil if none does.
func revocationsAt(b []byte, steps *int) (list [][]byte) {
	for end := 0; len(list) < maxList && *steps >= 0; {
		*steps--
		size := certificateSize(b[end:])
		if size == 0 {
			return nil
		}
		list, end = append(list, b[end:end+size]), end+size
		at := alignUp(end, 8)
		if at+8 > len(b) {
			return nil
		}
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			if order.Uint64(b[at:]) == uint64(end) {
				return list
			}
		}
	}
	return nil
}

// builtinHash is an entry of blacklist_hashes, a C string: hashes have 20 to 64 bytes.
var builtinHash = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:tbs|bin):(?:[0-9a-f]{2}){20,64}\x00`) })

// builtinHashes finds what CONFIG_SYSTEM_BLACKLIST_HASH_LIST has built into a kernel.
func builtinHashes(image []byte) (entries []string) {
	for _, kind := range []string{"tbs:", "bin:"} {
		for rest := image; ; {
			at := bytes.Index(rest, []byte(kind))
			if at < 0 {
				break
			}
			rest = rest[at:]
			if entry := builtinHash().Find(rest[:min(len(rest), 200)]); entry != nil {
				entries = append(entries, string(entry[:len(entry)-1]))
			}
			rest = rest[len(kind):]
		}
	}
	return entries
}
