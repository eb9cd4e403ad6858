package testenv

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPackages: what a skipped test says is to be installed, CI installs.
func TestPackages(t *testing.T) {
	list, err := os.ReadFile("../../.ci/packages")
	if err != nil {
		t.Fatal(err)
	}
	installed := strings.Fields(string(list))
	for judge, name := range packages {
		if !slices.Contains(installed, name) {
			t.Errorf(".ci/packages lacks %s, which has %s", name, judge)
		}
	}
}
