package test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// node is one file of a tree that a test makes.
type node struct {
	path    string
	mode    fs.FileMode // type and permissions; a regular file without a type
	content []byte
	link    string // what a symbolic link holds
	hard    string // the name of an earlier node of which this one is a hard link
}

// plant makes the nodes below root, in order.
func plant(t *testing.T, root string, nodes []node) {
	t.Helper()
	for _, n := range nodes {
		path := root + "/" + n.path
		mkdir(t, filepath.Dir(path))
		if err := n.make(root, path); err != nil {
			t.Fatal(err)
		}
	}
}

func (n node) make(root, path string) error {
	perm := n.mode.Perm()
	switch {
	case n.hard != "":
		return os.Link(filepath.Join(root, n.hard), path)
	case n.mode.Type() == fs.ModeSymlink:
		return os.Symlink(n.link, path)
	case n.mode.Type() == fs.ModeNamedPipe:
		return syscall.Mkfifo(path, uint32(perm))
	case n.mode.IsDir():
		return os.Mkdir(path, perm)
	}
	if err := os.WriteFile(path, n.content, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, n.mode) // WriteFile's mode is subject to the umask
}

// entry is what can be seen of a file without its times.
type entry struct {
	mode  fs.FileMode
	link  string
	inode string // the first name of this inode in the tree
	size  int
	sum   [sha256.Size]byte // of what normalize leaves of the content
}

func (e entry) String() string {
	if e.mode == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%v %s(inode of %s, %d bytes, %x)", e.mode, e.link, e.inode, e.size, e.sum[:4])
}

type tree map[string]entry

// snapshot reads a tree. normalize takes out of a file what two right programs may
// write differently; nil takes nothing.
func snapshot(t *testing.T, root string, normalize func([]byte) []byte) tree {
	t.Helper()
	found, inodes := tree{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := path[len(root)+1:]
		number := info.Sys().(*syscall.Stat_t).Ino
		if _, seen := inodes[number]; !seen {
			inodes[number] = name
		}
		e := entry{mode: info.Mode(), inode: inodes[number]}
		err = e.read(path, normalize)
		found[name] = e
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (e *entry) read(path string, normalize func([]byte) []byte) (err error) {
	switch {
	case e.mode.Type() == fs.ModeSymlink:
		e.link, err = os.Readlink(path)
	case e.mode.IsRegular():
		var content []byte
		content, err = os.ReadFile(path)
		if normalize != nil {
			content = normalize(content)
		}
		e.size, e.sum = len(content), sha256.Sum256(content)
	}
	return err
}

const marker = "~Module signature appended~\n"

// cut splits a signed module at its last signature.
func cut(signed []byte) (module, message []byte, ok bool) {
	rest, ok := bytes.CutSuffix(signed, []byte(marker))
	if !ok || len(rest) < 12 {
		return nil, nil, false
	}
	// struct module_signature: algo, hash, id_type, signer_len, key_id_len, __pad[3], sig_len.
	info, rest := rest[len(rest)-12:], rest[:len(rest)-12]
	size := int(binary.BigEndian.Uint32(info[8:]))
	if !bytes.Equal(info[:8], []byte{0, 0, 2, 0, 0, 0, 0, 0}) || size > len(rest) {
		return nil, nil, false
	}
	return rest[:len(rest)-size], rest[len(rest)-size:], true
}

// oidRSA is rsaEncryption, DER. Its signatures are the same each time.
var oidRSA = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}

// withoutSignature drops the value of a random signature from a message or from a
// signed module, so that all around it can be compared.
func withoutSignature(file []byte) []byte {
	if module, message, ok := cut(file); ok {
		if blank, ok := blankMessage(message); ok {
			return bytes.Join([][]byte{module, blank, []byte("trailer")}, nil)
		}
	}
	if blank, ok := blankMessage(file); ok {
		return blank
	}
	return file
}

func blankMessage(message []byte) ([]byte, bool) {
	if len(message) > 1<<16 || bytes.Contains(message, oidRSA) {
		return nil, false
	}
	return blankLast(message)
}

// blankLast empties the last primitive value of a DER structure: in a ContentInfo
// with one SignerInfo without unsigned attributes that is the signature.
func blankLast(der []byte) ([]byte, bool) {
	var v asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 {
		return nil, false
	}
	if v.IsCompound {
		before, last := splitLast(v.Bytes)
		blank, ok := blankLast(last)
		if !ok {
			return nil, false
		}
		v.Bytes = append(bytes.Clone(before), blank...)
	} else {
		v.Bytes = nil
	}
	v.FullBytes = nil
	out, err := asn1.Marshal(v)
	return out, err == nil
}

// splitLast splits a sequence of DER values before its last one.
func splitLast(values []byte) (before, last []byte) {
	rest := values
	for len(rest) > 0 {
		var v asn1.RawValue
		next, err := asn1.Unmarshal(rest, &v)
		if err != nil {
			return nil, nil
		}
		last, rest = rest, next
	}
	return values[:len(values)-len(last)], last
}

// pattern returns n bytes that look like nothing in particular. Callers share them
// and must not write.
func pattern(n int) []byte { return patternBytes()[:n:n] }

// maxPattern is the size of the longest module.
const maxPattern = 64 << 20

// patternBytes is an xorshift generator: a good random source would take longer than
// the tests do.
var patternBytes = sync.OnceValue(func() []byte {
	b := make([]byte, maxPattern)
	x := uint64(0x9e3779b97f4a7c15)
	for i := 0; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b
})

// TestResultsInOrder: what is printed depends neither on --jobs nor on what is finished first.
func TestResultsInOrder(t *testing.T) {
	dir := t.TempDir()
	key, cert := absolute(t, keys+"/rsa2048.key"), absolute(t, keys+"/rsa2048.pem")
	for i := range 40 {
		size := 0
		if i%7 == 0 {
			size = 4 << 20 // finished later
		}
		writeFile(t, fmt.Sprintf("%s/%02d.ko", dir, i), string(readFile(t, "../testdata/hello.ko"))+strings.Repeat("x", size), 0o644)
	}
	writeFile(t, dir+"/13.ko.xz", "no xz", 0o644)
	outs := map[string]bool{}
	for _, jobs := range []string{"1", "2", "8", "40"} {
		out, _ := run(t, nil, program(t), "sign", "--json", "--quiet", "--jobs", jobs, "--output-dir", t.TempDir(), "sha256", key, cert, dir)
		var names []string
		for _, m := range regexp.MustCompile(`"file":"[^"]*/([0-9]+\.ko[.xz]*)"`).FindAllStringSubmatch(out, -1) {
			names = append(names, m[1])
		}
		if len(names) != 41 {
			t.Fatalf("%d results\n%s", len(names), out)
		}
		outs[strings.Join(names, " ")] = true
	}
	if len(outs) != 1 {
		t.Errorf("%d orders", len(outs))
	}
}

// TestKeyOfTree: a key whose numbers do not belong together is told once, and signs nothing,
// although it would sign half of all modules rightly.
func TestKeyOfTree(t *testing.T) {
	dir := t.TempDir()
	block, _ := pem.Decode(readFile(t, keys+"/rsa2048.key"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	private := parsed.(*rsa.PrivateKey)
	numbers := struct {
		Version                      int
		N                            *big.Int
		E                            int
		D, P, Q, Dp, Dq, Coefficient *big.Int
	}{0, private.N, private.E, private.D, private.Primes[0], private.Primes[1], private.Precomputed.Dp, private.Precomputed.Dq, private.Precomputed.Qinv}
	half := new(big.Int).Rsh(private.Primes[0], 1) // (p - 1) / 2
	numbers.Dp = new(big.Int).Mod(new(big.Int).Add(numbers.Dp, half), new(big.Int).Sub(private.Primes[0], big.NewInt(1)))
	der, err := asn1.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})), 0o600)
	mkdir(t, dir+"/tree")
	for i := range 12 {
		writeFile(t, fmt.Sprintf("%s/tree/%d.ko", dir, i), string(readFile(t, "../testdata/hello.ko"))+strings.Repeat("x", i), 0o644)
	}
	before := mustRun(t, nil, "sh", "-c", "sha256sum "+dir+"/tree/*")
	out, err := run(t, nil, program(t), "sign", "sha256", dir+"/key.pem", absolute(t, keys+"/rsa2048.pem"), dir+"/tree")
	if err == nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, "key.pem") {
		t.Errorf("%v\n%s", err, out)
	}
	if after := mustRun(t, nil, "sh", "-c", "sha256sum "+dir+"/tree/*"); after != before {
		t.Error("some modules were signed")
	}
}
