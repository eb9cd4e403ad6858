package kernel

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	"sign-file/test/vm"
)

// TestRunning asks booted machines what they trust. Package trust presumes by rules which
// keyring each certificate is in, and then asks the kernel, whose word it takes: where that
// is another, it notes it.
func TestRunning(t *testing.T) {
	for _, k := range vm.Kernels(t) {
		t.Run(k.Series, func(t *testing.T) {
			db := [][]byte{testKey(t, "rsa2048.x509"), testKey(t, "p384.x509")}
			reports := vm.Boot(t, k, vm.Options{
				Init:  "sign-file/test/kernel/running",
				Files: []vm.File{{Name: "vmlinuz", Data: read(t, k.Image())}, {Name: "config", Data: read(t, k.Config())}, {Name: "db", Data: vm.SignatureLists(db)}},
				DB:    db, Cmdline: "lockdown=integrity",
			})
			var answer struct {
				Keyrings map[kernel.Keyring][]string
				Notes    []string
				Unsigned [2]syscall.Errno
			}
			if len(reports) != 1 || json.Unmarshal(reports[0], &answer) != nil {
				t.Fatalf("reports %s", reports)
			}
			var platform []string
			for _, der := range db {
				c, err := certificate.First(der)
				if err != nil {
					t.Fatal(err)
				}
				platform = append(platform, certificate.FormatName(c.Subject))
			}
			image := &kernel.Ring{}
			if _, err := trust.Load(image, k.Image()); err != nil {
				t.Fatal(err)
			}
			if got := answer.Keyrings[kernel.Platform]; !slices.Equal(got, platform) {
				t.Errorf(".platform has %q, want %q", got, platform)
			}
			if got := answer.Keyrings[kernel.Builtin]; len(got) != image.Size() || len(got) == 0 {
				t.Errorf("%d built-in certificates, the image has %d", len(got), image.Size())
			}
			for _, note := range answer.Notes {
				if strings.Contains(note, "would be expected") || strings.Contains(note, "no file here") {
					t.Error(note)
				}
			}
			if answer.Unsigned != [2]syscall.Errno{syscall.EPERM, syscall.EPERM} {
				t.Errorf("an unsigned module, with securityfs and without: %v", answer.Unsigned)
			}
			t.Logf("%v", answer)
		})
	}
}
