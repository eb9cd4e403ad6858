package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"sign-file/test/testenv"
)

// guid is a GUID as UEFI stores it: the first three parts little-endian.
type guid struct {
	a    uint32
	b, c uint16
	d    [8]byte
}

func (g guid) bytes() []byte {
	out := binary.LittleEndian.AppendUint32(nil, g.a)
	out = binary.LittleEndian.AppendUint16(out, g.b)
	out = binary.LittleEndian.AppendUint16(out, g.c)
	return append(out, g.d[:]...)
}

var (
	// EFI_IMAGE_SECURITY_DATABASE_GUID, the vendor of db
	imageSecurity = guid{0xd719b2cb, 0x3d3a, 0x4596, [8]byte{0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}}
	// EFI_CERT_X509_GUID
	certX509 = guid{0xa5c059a1, 0x94e4, 0x4aa7, [8]byte{0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}}
	// gEfiAuthenticatedVariableGuid, the format of OVMF's variable store
	authenticatedStore = guid{0xaaf32c78, 0x947b, 0x439a, [8]byte{0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}}
)

// firmware returns QEMU's arguments for OVMF with a variable store of its own in
// dir. There is no PK in it, so Secure Boot stays off; db counts all the same.
func firmware(t testing.TB, dir string, db [][]byte) []string {
	t.Helper()
	const code, template = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	store, err := os.ReadFile(template)
	if err != nil {
		testenv.Missing(t, template+" (package ovmf)")
	}
	if len(db) > 0 {
		if err := addVariable(store, imageSecurity, "db", SignatureLists(db)); err != nil {
			t.Fatalf("%s: %v", template, err)
		}
	}
	vars := filepath.Join(dir, "vars.fd")
	if err := os.WriteFile(vars, store, 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{
		"-drive", "if=pflash,format=raw,readonly=on,file=" + code,
		"-drive", "if=pflash,format=raw,file=" + vars,
	}
}

// SignatureLists puts each certificate into an EFI_SIGNATURE_LIST (UEFI 2.10,
// 32.4.1): lists hold signatures of one size only.
func SignatureLists(certificates [][]byte) []byte {
	var out []byte
	for _, c := range certificates {
		size := uint32(16 + len(c)) // owner, certificate
		out = append(out, certX509.bytes()...)
		out = binary.LittleEndian.AppendUint32(out, 28+size)
		out = binary.LittleEndian.AppendUint32(out, 0) // no header
		out = binary.LittleEndian.AppendUint32(out, size)
		out = append(out, make([]byte, 16)...)
		out = append(out, c...)
	}
	return out
}

// addVariable appends a variable to an OVMF variable store: a firmware volume
// whose contents are a VARIABLE_STORE_HEADER and, 4-byte aligned, variables with
// an AUTHENTICATED_VARIABLE_HEADER each (EDK II, MdeModulePkg/Include/Guid/VariableFormat.h).
func addVariable(volume []byte, vendor guid, name string, data []byte) error {
	const (
		storeHeader    = 28
		variableHeader = 60
		startID        = 0x55aa
		added          = 0x3f
		// NON_VOLATILE, BOOTSERVICE_ACCESS, RUNTIME_ACCESS, TIME_BASED_AUTHENTICATED_WRITE_ACCESS
		attributes = 0x27
	)
	le := binary.LittleEndian
	if len(volume) < 64 || string(volume[40:44]) != "_FVH" {
		return fmt.Errorf("not a firmware volume")
	}
	start := int(le.Uint16(volume[48:])) // HeaderLength
	if len(volume) < start+storeHeader || !bytes.Equal(volume[start:start+16], authenticatedStore.bytes()) {
		return fmt.Errorf("not an authenticated variable store")
	}
	end := start + int(le.Uint32(volume[start+16:]))
	if end > len(volume) {
		return fmt.Errorf("a variable store that is cut off")
	}
	at := start + storeHeader
	for at+variableHeader <= end && le.Uint16(volume[at:]) == startID {
		at += variableHeader + int(le.Uint32(volume[at+36:])) + int(le.Uint32(volume[at+40:]))
		at = (at + 3) &^ 3
	}

	var utf16le []byte
	for _, unit := range utf16.Encode([]rune(name + "\x00")) {
		utf16le = le.AppendUint16(utf16le, unit)
	}
	variable := le.AppendUint16(nil, startID)
	variable = append(variable, added, 0)
	variable = le.AppendUint32(variable, attributes)
	variable = append(variable, make([]byte, 8+16+4)...) // count, time stamp, public key index
	variable = le.AppendUint32(variable, uint32(len(utf16le)))
	variable = le.AppendUint32(variable, uint32(len(data)))
	variable = append(variable, vendor.bytes()...)
	variable = append(variable, utf16le...)
	variable = append(variable, data...)
	if at+len(variable) > end {
		return fmt.Errorf("no room for the variable %s of %d bytes", name, len(data))
	}
	copy(volume[at:], variable)
	return nil
}
