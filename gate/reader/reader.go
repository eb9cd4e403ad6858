// Package reader reads what a gate has published, without a right to anything else.
// BPF programs do the same with sign_file_gate.h.
package reader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"sign-file/internal/paths"
	"sign-file/mapvalue"
)

// HeaderSize is the length in bytes of what precedes the map value in an
// element: struct sign_file_gate_entry.
const HeaderSize = 16

// ErrNoValue says that nothing is published under the key.
var ErrNoValue = errors.New("no value")

// ErrNoGate says that what is pinned there is not the map of a gate.
var ErrNoGate = errors.New("not the map of a gate")

// Map is a protected map, open for reading.
type Map struct {
	m *ebpf.Map
}

// Entry is an element of the map.
type Entry struct {
	Key []byte
	// Generation is new for every value that is published, and never the same
	// for two values of a gate.
	Generation uint64
	// Data is what the kernel has verified.
	Data []byte
	// Value is the map value with its be32 and signature. The tail is zeros.
	Value []byte
}

// Open opens a gate's map by the name that it is pinned by: values, in the gate's
// folder.
func Open(pin string) (*Map, error) {
	m, err := ebpf.LoadPinnedMap(pin, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, paths.About("open", pin, err)
	}
	if m.Type() != ebpf.Hash || m.ValueSize() <= HeaderSize+mapvalue.HeaderSize {
		m.Close()
		return nil, paths.About("open", pin, ErrNoGate)
	}
	return &Map{m}, nil
}

// Close closes the map.
func (m *Map) Close() error { return m.m.Close() }

// BPF returns the map for a BPF program to use, in ebpf's MapReplacements.
func (m *Map) BPF() *ebpf.Map { return m.m }

// Lookup returns what is published under a key. The error is ErrNoValue where that
// is nothing.
func (m *Map) Lookup(key []byte) (Entry, error) {
	// Until two reads agree: the kernel may be filling the memory of an element
	// that was replaced with another while it copies it out.
	before, err := m.m.LookupBytes(key)
	for tries := 0; err == nil && tries < 1000; tries++ {
		if before == nil {
			return Entry{}, ErrNoValue
		}
		var after []byte
		if after, err = m.m.LookupBytes(key); bytes.Equal(before, after) {
			return decode(key, before)
		}
		before = after
	}
	if err == nil {
		err = errors.New("it changes too fast to be read")
	}
	return Entry{}, fmt.Errorf("key %x: %w", key, err)
}

// Entries returns all that is published, in no particular order.
func (m *Map) Entries() ([]Entry, error) {
	var entries []Entry
	var key, value []byte
	all := m.m.Iterate()
	for all.Next(&key, &value) {
		entry, err := m.Lookup(bytes.Clone(key))
		if err == ErrNoValue {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, all.Err()
}

func decode(key, element []byte) (Entry, error) {
	e := Entry{
		Key:        key,
		Generation: binary.NativeEndian.Uint64(element),
		Value:      element[HeaderSize:],
	}
	size := int64(binary.NativeEndian.Uint32(element[8:]))
	if size > int64(len(e.Value)-mapvalue.HeaderSize) {
		return e, fmt.Errorf("key %x: the map holds what no gate publishes", key)
	}
	e.Data = e.Value[mapvalue.HeaderSize:][:size]
	return e, nil
}
