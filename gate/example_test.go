package gate_test

import (
	"encoding/binary"
	"errors"
	"log"
	"os"
	"syscall"

	"sign-file/gate"
)

// A value is published under a key of a gate that "sign-file map gate create" made. The
// kernel decides whether it is authentic.
func ExampleLoader_Publish() {
	g, err := gate.Open(gate.DefaultDir, "policy")
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	loader, err := g.Loader()
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	value, err := os.ReadFile("policy.value") // of "sign-file map sign"
	if err != nil {
		log.Fatal(err)
	}
	err = loader.Publish(binary.NativeEndian.AppendUint32(nil, 7), value)
	if errors.Is(err, syscall.ENOKEY) {
		log.Fatal("nobody that the gate trusts has signed it")
	}
}
