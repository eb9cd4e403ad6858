package rsalanes_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// instructions that the assembly may consist of: none takes a time that depends on what
// is in its registers (on all that is known of these processors).
var known = []string{
	"MOVQ", "MOVL", "LEAQ", "ADDQ", "SUBQ", "DECQ", "JNZ", "RET",
	"VMOVDQU64", "VPXORQ", "VPADDQ", "VPSUBQ", "VPANDQ", "VPSRLQ", "VPTERNLOGQ", "VPCMPEQQ",
	"VPMADD52LUQ", "VPMADD52HUQ", "VPERMQ", "VPSRLQ.Z", "VPERMQ.Z", "KMOVW", "VZEROUPPER",
	"VMOVDQU", "VPXOR", "VPAND", "VPOR", "VPMULUDQ", "VPSHUFD", "VPSRLDQ", "VPSLLDQ",
}

// TestConstantTime reads the assembly: no branch and no address depends on anything but
// the function's pointers and counters. General registers take only arguments, constants
// and their sums, so that a limb never gets into one; and only they make addresses and
// conditions.
func TestConstantTime(t *testing.T) {
	var (
		argument = regexp.MustCompile(`^(out|a|b|n|n0|table|index|wide|half|room)\+\d+\(FP\)$`)
		constant = regexp.MustCompile(`^\$0x[0-9a-f]+$`)
		general  = regexp.MustCompile(`^(AX|BX|CX|DX|SI|DI|R\d+)$`)
		vector   = regexp.MustCompile(`^(Z\d+|Y\d+|K[123]|(pair|single)\dx\d+(lowest|above|below|mask|low)<>\+0\(SB\)|-?\d*\((AX|BX|CX|DX|SI|DI|R\d+)\)|\$0x[0-9a-f]+)$`)
	)
	functions, lines := 0, 0
	for line := range strings.Lines(string(read(t, "amm_amd64.s"))) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "DATA ") || strings.HasPrefix(line, "GLOBL "), line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#include") || strings.HasSuffix(line, ":"):
			continue
		case strings.HasPrefix(line, "TEXT "):
			functions++
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		operands := strings.Split(strings.ReplaceAll(rest, " ", ""), ",")
		lines++
		if !slices.Contains(known, name) {
			t.Errorf("%q is no instruction that was thought of", line)
		}
		for i, operand := range operands {
			ok := vector.MatchString(operand)
			switch name {
			case "MOVQ": // never from memory, apart from arguments
				ok = i == 1 && general.MatchString(operand) || i == 0 && (argument.MatchString(operand) || constant.MatchString(operand) || general.MatchString(operand))
			case "MOVL":
				ok = i == 0 && constant.MatchString(operand) || i == 1 && general.MatchString(operand)
			case "KMOVW": // a constant, by way of MOVL
				ok = i == 0 && general.MatchString(operand) || i == 1 && vector.MatchString(operand)
			case "LEAQ": // computes an address and reads nothing
				ok = i == 0 && vector.MatchString(operand) || i == 1 && general.MatchString(operand)
			case "ADDQ", "SUBQ":
				ok = i == 0 && constant.MatchString(operand) || i == 1 && general.MatchString(operand)
			case "DECQ":
				ok = general.MatchString(operand)
			case "JNZ", "RET", "VZEROUPPER":
				ok = true
			}
			if !ok {
				t.Errorf("%q: operand %q", line, operand)
			}
		}
	}
	if functions != 25 || lines < 5000 {
		t.Errorf("%d functions of %d lines", functions, lines)
	}
	// Each conditional jump goes by the counter that the line before it counts.
	text := string(read(t, "amm_amd64.s"))
	if jumps, counted := strings.Count(text, "\tJNZ "), len(regexp.MustCompile(`\tDECQ +\w+\n\tJNZ `).FindAllString(text, -1)); jumps != counted || jumps == 0 {
		t.Errorf("%d jumps, %d of them by a counter", jumps, counted)
	}
}

// TestGenerated: the assembly is what gen writes.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(testenv.Tool(t, "go"), "run", ".", "-out", filepath.Join(dir, "amm_amd64.s"), "-stubs", filepath.Join(dir, "stubs_amd64.go"), "-pkg", "rsalanes")
	cmd.Dir = "gen"
	if out, err := cmd.CombinedOutput(); err != nil {
		testenv.Missing(t, "what internal/rsalanes/gen needs (Go modules): "+string(out))
	}
	// The first line names the command, with its folders.
	body := func(path string) string {
		_, rest, _ := strings.Cut(string(read(t, path)), "\n")
		return rest
	}
	for _, name := range []string{"amm_amd64.s", "stubs_amd64.go"} {
		if body(name) != body(filepath.Join(dir, name)) {
			t.Errorf("%s is not what gen writes: go generate ./internal/rsalanes", name)
		}
	}
}
