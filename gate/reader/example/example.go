// Package example is a BPF program that enforces a signed policy: see
// bpf/allowlist.bpf.c.
package example

import (
	"fmt"

	"github.com/cilium/ebpf"

	"sign-file/gate/reader"
)

// Regenerating needs clang; the objects are committed.
//go:generate go tool bpf2go -target bpfel,bpfeb -cflags "-O2 -g -mcpu=v3 -Wall -Werror" allowlist bpf/allowlist.bpf.c -- -I/usr/include/x86_64-linux-gnu

// Load loads the program, which reads its policy from a gate's map. The caller
// attaches it to an interface and closes it.
func Load(policy *reader.Map) (*ebpf.Program, error) {
	var objects struct {
		Filter *ebpf.Program `ebpf:"filter"`
	}
	err := loadAllowlistObjects(&objects, &ebpf.CollectionOptions{
		MapReplacements: map[string]*ebpf.Map{"policy": policy.BPF()},
	})
	if err != nil {
		return nil, fmt.Errorf("loading the allow-list program: %w", err)
	}
	return objects.Filter, nil
}
