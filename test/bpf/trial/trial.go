// Package trial is what the test of signed BPF programs and the init of its virtual
// machine say to each other.
package trial

import "syscall"

// File is the name of the Job in the machine's root directory, gob.
const File = "job"

// Job is all that is asked in one boot.
type Job struct {
	Keyrings []Keyring
	Loaders  []Loader // that trials name by their index
	Trials   []Trial
}

// Keyring is one that is made in the machine.
type Keyring struct {
	Name         string
	Certificates [][]byte // DER
	// Revoked: its keys are revoked after they were added.
	Revoked bool
}

// Loader is what bpf_load_and_run gets. Without a ContextSize it is not run.
type Loader struct {
	Instructions, Data, Signature, ExclusiveHash []byte
	ContextSize                                  int
	// EmptySignature: the pointer to the signature is not null, and it has no bytes.
	EmptySignature bool
}

// Trial asks whether a loader is taken.
type Trial struct {
	Name string
	// Program is an executable of the root directory that loads a skeleton by itself, with
	// the keyring's id as its only argument. Otherwise a Loader is loaded.
	Program string
	// Pin is where the Program pins what it loads, which is then run on Packets. Arguments
	// are the Program's then; of {keyring} they have the keyring's id.
	Pin       string
	Arguments []string
	Packets   [][]byte
	Loader    int
	Part      Part // one bit of which is changed, if it is not empty
	Bit       int
	// Keyring is one of the Job's, or else System the id.
	Keyring string
	System  int32
	// Bind sets fd_array_cnt, as libbpf does from Linux 7.3 on.
	Bind bool
}

// Part of a Loader.
type Part string

// The parts.
const (
	Instructions  Part = "instructions"
	Data          Part = "data"
	Signature     Part = "signature"
	ExclusiveHash Part = "excl_prog_hash"
)

// Result is what came of one trial. Errno is 0 for what was taken.
type Result struct {
	Name  string        `json:"name"`
	Errno syscall.Errno `json:"errno"`
	// Where the errno came from: BPF_MAP_CREATE, BPF_PROG_LOAD or BPF_PROG_RUN.
	Where string `json:"where,omitempty"`
	// Output is what a Program that pins has printed, Actions what became of the packets.
	Output  string   `json:"output,omitempty"`
	Actions []uint32 `json:"actions,omitempty"`
}

// Of is a part of a loader.
func (l *Loader) Of(p Part) *[]byte {
	switch p {
	case Instructions:
		return &l.Instructions
	case Data:
		return &l.Data
	case Signature:
		return &l.Signature
	case ExclusiveHash:
		return &l.ExclusiveHash
	}
	return new([]byte)
}

// Changed is a copy of the loader with one bit of a part changed.
func (l Loader) Changed(p Part, bit int) Loader {
	part := l.Of(p)
	if *part = append([]byte(nil), *part...); bit/8 < len(*part) {
		(*part)[bit/8] ^= 1 << (bit % 8)
	}
	return l
}
