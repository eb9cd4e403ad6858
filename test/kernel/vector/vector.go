// Package vector is what the harness and the init of its virtual machine tell
// each other: questions for the kernel on the way in, its answers on the way out.
package vector

import (
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"io"
	"syscall"
)

// Kind is how a vector is put to the kernel.
type Kind string

const (
	// Module loads Data with init_module, or finit_module where Flags are set,
	// and removes it again.
	Module Kind = "module"
	// Insmod has kmod load Data, a file whose name ends with Suffix: it decompresses
	// the file itself, or has the kernel do it.
	Insmod Kind = "insmod"
	// Value verifies Data, a whole map value (be32 size, module-style signed
	// file, tail), with bpf_verify_pkcs7_signature.
	Value Kind = "value"
	// Detached does the same with Data and the PKCS#7 message Signature.
	Detached Kind = "detached"
	// Certificate offers Data to add_key("asymmetric").
	Certificate Kind = "certificate"
	// Enforce switches sig_enforce on for the vectors after it. The kernel has no way back.
	Enforce Kind = "enforce"
)

// What the BPF program's buffers hold (struct request in verify.bpf.c). The
// kernel refuses PKCS#7 above 65535 bytes itself, and must get to see one.
const (
	MaxData      = 1 << 20
	MaxSignature = 1 << 17
)

// System keyrings of bpf_lookup_system_key.
const (
	Builtin   = 0 // .builtin_trusted_keys
	Secondary = 1 // .secondary_trusted_keys, which modules are verified with
	Platform  = 2 // .platform: UEFI db
)

// Patch changes one byte. Offsets count through Data and on through Signature,
// as if they were one.
type Patch struct {
	Offset int
	XOR    byte
}

// Vector is one question to the kernel. Vectors that differ only in their
// Patches share Data and Signature in the virtual machine, so that thousands
// of mutations of a file cost little more than the file.
type Vector struct {
	Name string
	Kind Kind

	Data      []byte // module, map value, signed data, or certificate in DER
	Signature []byte // of Detached
	Patches   []Patch

	// Keyring names the Keyring that a Value or Detached is verified with; empty is System.
	Keyring string
	System  uint64

	// Flags of finit_module (MODULE_INIT_*).
	Flags int
	// Suffix of the file for Insmod.
	Suffix string
	// Keep leaves the module loaded for the vectors after it.
	Keep bool
}

// Keyring is a keyring of user space that the init makes for the first vector that
// names it.
type Keyring struct {
	Name         string
	Certificates [][]byte // DER
	// Undescribed: the kernel describes them itself, and one may displace another.
	Undescribed bool
}

// Result is the kernel's answer to one vector.
type Result struct {
	Name string `json:"name"`
	// Errno is 0 where the kernel accepted.
	Errno syscall.Errno `json:"errno"`
	// Taint is the module's own (/sys/module/NAME/taint), "E" for an unsigned one.
	Taint string `json:"taint,omitempty"`
	// Log is what the kernel logged meanwhile, without time stamps.
	Log []string `json:"log,omitempty"`
}

// File is where the init finds its Job.
const File = "vectors"

// Loader is the dynamic linker of kmod, which lies beside it as "kmod" with all its
// libraries.
const Loader = "ld.so"

// Job is everything that one boot is for.
type Job struct {
	Keyrings []Keyring
	Vectors  []Vector
}

// packed is a Job on its way, with each distinct byte slice in it once.
type packed struct {
	Keyrings []Keyring
	Blobs    [][]byte
	Vectors  []packedVector
}

type packedVector struct {
	Vector          // with neither Data nor Signature
	Data, Signature int
}

// Write packs the job.
func (j Job) Write(w io.Writer) error {
	p := packed{Keyrings: j.Keyrings, Blobs: [][]byte{nil}}
	index := map[[sha256.Size]byte]int{sha256.Sum256(nil): 0}
	blob := func(b []byte) int {
		sum := sha256.Sum256(b)
		i, ok := index[sum]
		if !ok {
			i = len(p.Blobs)
			index[sum] = i
			p.Blobs = append(p.Blobs, b)
		}
		return i
	}
	for _, v := range j.Vectors {
		if err := v.check(); err != nil {
			return fmt.Errorf("vector %q: %w", v.Name, err)
		}
		pv := packedVector{Vector: v, Data: blob(v.Data), Signature: blob(v.Signature)}
		pv.Vector.Data, pv.Vector.Signature = nil, nil
		p.Vectors = append(p.Vectors, pv)
	}
	return gob.NewEncoder(w).Encode(p)
}

// check refuses what would be a fault of the test and not an answer of the kernel.
func (v Vector) check() error {
	for _, p := range v.Patches {
		if p.Offset < 0 || p.Offset >= len(v.Data)+len(v.Signature) {
			return fmt.Errorf("patch at %d of %d bytes", p.Offset, len(v.Data)+len(v.Signature))
		}
	}
	if (v.Kind == Value || v.Kind == Detached) && (len(v.Data) > MaxData || len(v.Signature) > MaxSignature) {
		return fmt.Errorf("%d bytes and a signature of %d: at most %d and %d fit",
			len(v.Data), len(v.Signature), MaxData, MaxSignature)
	}
	return nil
}

// Read unpacks a job. Vectors share the slices of equal contents: see Patched.
func Read(r io.Reader) (Job, error) {
	var p packed
	if err := gob.NewDecoder(r).Decode(&p); err != nil {
		return Job{}, err
	}
	j := Job{Keyrings: p.Keyrings}
	for _, pv := range p.Vectors {
		v := pv.Vector
		v.Data, v.Signature = p.Blobs[pv.Data], p.Blobs[pv.Signature]
		j.Vectors = append(j.Vectors, v)
	}
	return j, nil
}

// Patched returns copies of Data and Signature with the Patches applied.
func (v Vector) Patched() (data, signature []byte) {
	both := make([]byte, len(v.Data)+len(v.Signature))
	copy(both[copy(both, v.Data):], v.Signature)
	for _, p := range v.Patches {
		both[p.Offset] ^= p.XOR
	}
	return both[:len(v.Data):len(v.Data)], both[len(v.Data):]
}
