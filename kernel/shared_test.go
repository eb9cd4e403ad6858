package kernel_test

import (
	"bytes"
	"io"
	"testing"

	"sign-file/kernel"
	modsig "sign-file/module_signature"
)

// TestJudgeStays: nothing that a Judge was made of, or has given away, changes its verdicts.
func TestJudgeStays(t *testing.T) {
	module := golden(t, "hello-rsa2048-sha256.ko")
	var ring kernel.Ring
	ring.Add(certificates(t, key(t, "rsa2048.pem"))...)
	rules, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	j := kernel.NewJudge(rules, &ring, kernel.Module)
	v := onModule(t, j, module)
	clear(v.Signers[0].Certificate.Raw)
	*j.Kernel() = kernel.Kernel{}
	*rules = kernel.Kernel{}
	ring.Certificates()[0] = nil
	if err := ring.Blacklist("tbs:" + "00"); err != nil {
		t.Fatal(err)
	}
	if v := onModule(t, j, module); !v.Accepted || v.Kernel != "6.12" {
		t.Errorf("%+v", v)
	}
}

// TestNoRules: without rules, or for a usage that there is not, there is no verdict.
func TestNoRules(t *testing.T) {
	rules, err := kernel.Of("6.12")
	if err != nil {
		t.Fatal(err)
	}
	for name, j := range map[string]*kernel.Judge{
		"made by hand": kernel.NewJudge(&kernel.Kernel{Name: "6.12"}, nil, kernel.Module),
		"usage 99":     kernel.NewJudge(rules, nil, 99),
		"usage -1":     kernel.NewJudge(rules, nil, -1),
		"nil":          nil,
	} {
		if v, err := j.MapValue(nil); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
		j.Unusable()
		j.Kernel()
	}
}

// atEnd tells the end of a file with its last bytes, as io.ReaderAt allows.
type atEnd struct{ *bytes.Reader }

func (a atEnd) ReadAt(b []byte, at int64) (int, error) {
	n, err := a.Reader.ReadAt(b, at)
	if err == nil && at+int64(n) == a.Size() {
		err = io.EOF
	}
	return n, err
}

func TestEndWithLastBytes(t *testing.T) {
	module := golden(t, "hello-rsa2048-sha256.ko")
	file := atEnd{bytes.NewReader(module)}
	if _, err := modsig.Find(file, file.Size()); err != nil {
		t.Error(err)
	}
	v, err := judge(t, "6.12", kernel.Module, key(t, "rsa2048.pem")).Module(file, file.Size())
	if err != nil || !v.Accepted {
		t.Errorf("%+v, %v", v, err)
	}
}
