package test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"unicode"
)

// scenario is one command line and the tree that it runs in. Paths are relative to
// that tree; two levels above it are keys, the folder of testdata, and junk.
type scenario struct {
	args  []string
	env   []string
	umask string
	nodes []node
	feed  []byte // what a FIFO that is the module brings

	// What the program has to make of args.
	call
}

// call is a command line as sign-file reads it.
type call struct {
	bad      bool // an option that there is not
	flags    string
	operands []string
}

func (c call) has(flag string) bool { return strings.Contains(c.flags, flag) }

// operand returns an operand that may not be there.
func (c call) operand(i int) string {
	if i >= len(c.operands) {
		return ""
	}
	return c.operands[i]
}

// detaches tells that the message alone is written.
func (c call) detaches() bool { return c.has("d") && !c.has("s") }

func (c call) hash() string   { return strings.ToLower(c.operand(0)) }
func (c call) key() string    { return c.operand(1) }
func (c call) cert() string   { return c.operand(2) }
func (c call) module() string { return c.operand(3) }
func (c call) dest() string   { return c.operand(4) }

// inPlace tells that the module's own name is where the result goes.
func (c call) inPlace() bool { return len(c.operands) == 4 || c.dest() == c.module() }

// outputs are the names that a successful run writes to.
func (c call) outputs() []string {
	message, signed := c.module()+".p7s", c.module()
	if !c.inPlace() {
		signed = c.dest()
	}
	switch {
	case c.has("s"):
		return []string{signed}
	case c.has("d"):
		return []string{message}
	case c.has("p"):
		return []string{signed, message}
	}
	return []string{signed}
}

// read is getopt(3) told once more, to say what a command line means: the test would
// prove nothing if it asked the program.
func read(args []string, posix bool) call {
	var c call
	for i, arg := range args {
		switch {
		case arg == "--":
			c.operands = append(c.operands, args[i+1:]...)
			return c
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if posix {
				c.operands = append(c.operands, args[i:]...)
				return c
			}
			c.operands = append(c.operands, arg)
		case strings.Trim(arg[1:], "sdpk") != "":
			c.bad = true
			return c
		default:
			c.flags += arg[1:]
		}
	}
	return c
}

// generator makes scenarios. The same source makes the same one.
type generator struct {
	*rand.Rand
	s scenario
}

func newScenario(r *rand.Rand) *scenario {
	g := &generator{Rand: r}
	g.s.umask = pick(g, "022", "022", "077", "002", "000")
	pair := g.material()
	module := g.module()
	operands := []string{g.hashName(), pair[0], pair[1], module}
	flags := g.flags()
	if strings.ContainsRune(flags, 's') {
		operands = []string{g.raw(), g.hashName(), pair[1], module}
	}
	if dest, ok := g.dest(module); ok {
		operands = append(operands, dest)
	}
	g.extras(module)
	if g.chance(4) {
		operands = g.wrongCount(operands)
	}
	g.commandLine(operands, flags)
	return &g.s
}

// chance is true in n of 100 cases.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) add(nodes ...node) { g.s.nodes = append(g.s.nodes, nodes...) }

// pairs are keys with their certificates.
var pairs = [][2]string{
	{"rsa2048.key", "rsa2048.pem"}, {"rsa2048.key", "rsa2048.x509"}, {"rsa3072.key", "rsa3072.pem"},
	{"rsa4096.key", "rsa4096.x509"}, {"p224.key", "p224.pem"}, {"p256.key", "p256.x509"},
	{"p384.key", "p384.pem"}, {"p521.key", "p521.x509"},
}

// oddKeys belong to rsa2048, or are no keys that sign-file can read.
var oddKeys = []string{
	"odd/text-before.key", "odd/crlf.key", "odd/bom.key", "odd/signing_key.pem", "odd/certificate-first.pem",
	"odd/two-keys.key", "odd/public-key-first.key", "odd/pkcs1.key", "odd/pkcs1.der", "odd/pkcs8.der",
	"odd/encrypted-pkcs8.key", "odd/encrypted-traditional.key", "rsa2048.pem", "rsa2048.x509",
	"odd/request.csr", "odd",
}

// oddCertificates belong to rsa2048, or are none that sign-file can read.
var oddCertificates = []string{
	"odd/serial-zero.pem", "odd/serial-negative.pem", "odd/no-ski.pem", "odd/issued-by-ca.pem", "odd/expired.pem",
	"odd/text-before.pem", "odd/crlf.pem", "odd/bom.pem", "odd/signing_key.pem", "odd/certificate-first.pem",
	"odd/x509-label.pem", "odd/trusted-label.pem", "odd/truncated.x509", "odd/trailing-bytes.x509",
	"odd/request.csr", "odd/bundle.p7b", "odd/two-certificates.pem", "rsa2048.key", "odd",
}

// oddPairs are sound, but of kinds that few sign with.
var oddPairs = [][2]string{
	{"odd/sec1.key", "p256.pem"}, {"odd/sec1.der", "p256.pem"}, {"p256.key", "odd/two-certificates.pem"},
	{"odd/rsa-pss.key", "odd/rsa-pss.pem"}, {"odd/ed25519.key", "odd/ed25519.pem"}, {"odd/dsa.key", "odd/dsa.pem"},
	{"odd/secp256k1.key", "odd/secp256k1.pem"}, {"odd/brainpoolP256r1.key", "odd/brainpoolP256r1.pem"},
	{"odd/signing_key.pem", "odd/signing_key.pem"},
}

// junk are files that are neither key nor certificate; "missing" is not there.
var junk = []string{"empty", "one-byte", "text", "long-form", "missing"}

// material picks a key and a certificate.
func (g *generator) material() [2]string {
	pair := pick(g, pairs...)
	switch n := g.IntN(100); {
	case n < 60:
	case n < 70:
		pair = [2]string{pick(g, oddKeys...), "rsa2048.pem"}
	case n < 80:
		pair = [2]string{"rsa2048.key", pick(g, oddCertificates...)}
	case n < 88:
		pair = pick(g, oddPairs...)
	case n < 94:
		pair[1] = pick(g, pairs...)[1]
	case n < 97:
		return [2]string{"../../junk/" + pick(g, junk...), "../../keys/" + pair[1]}
	default:
		return [2]string{"../../keys/" + pair[0], "../../junk/" + pick(g, junk...)}
	}
	// The right passphrase, a wrong one, or none: testdata has keys with "secret".
	if pin := pick(g, "", "", "secret", "wrong"); pin != "" {
		g.s.env = append(g.s.env, "KBUILD_SIGN_PIN="+pin)
	}
	return [2]string{"../../keys/" + pair[0], "../../keys/" + pair[1]}
}

// hashNames are all spellings of §3.4, hashes that never come to a signature, and
// names that OpenSSL doesn't know.
var hashNames = strings.Split("sha1,SHA-1,RSA-SHA1,RSA-SHA1-2,sha1WithRSAEncryption,ssl3-sha1,1.3.14.3.2.26,"+
	"sha224,SHA-224,SHA2-224,RSA-SHA224,sha224WithRSAEncryption,2.16.840.1.101.3.4.2.4,"+
	"sha256,SHA-256,SHA2-256,RSA-SHA256,sha256WithRSAEncryption,2.16.840.1.101.3.4.2.1,"+
	"sha384,SHA-384,SHA2-384,RSA-SHA384,sha384WithRSAEncryption,2.16.840.1.101.3.4.2.2,"+
	"sha512,SHA-512,SHA2-512,RSA-SHA512,sha512WithRSAEncryption,2.16.840.1.101.3.4.2.3,"+
	"sha512-224,SHA-512/224,SHA2-512/224,RSA-SHA512/224,sha512-224WithRSAEncryption,2.16.840.1.101.3.4.2.5,"+
	"sha512-256,SHA-512/256,SHA2-512/256,RSA-SHA512/256,sha512-256WithRSAEncryption,2.16.840.1.101.3.4.2.6,"+
	"sha3-224,RSA-SHA3-224,id-rsassa-pkcs1-v1_5-with-sha3-224,2.16.840.1.101.3.4.2.7,"+
	"sha3-256,RSA-SHA3-256,id-rsassa-pkcs1-v1_5-with-sha3-256,2.16.840.1.101.3.4.2.8,"+
	"sha3-384,RSA-SHA3-384,id-rsassa-pkcs1-v1_5-with-sha3-384,2.16.840.1.101.3.4.2.9,"+
	"sha3-512,RSA-SHA3-512,id-rsassa-pkcs1-v1_5-with-sha3-512,2.16.840.1.101.3.4.2.10,"+
	"md5,RSA-MD5,md5WithRSAEncryption,ssl3-md5,1.2.840.113549.2.5,"+
	"ripemd160,ripemd,rmd160,RIPEMD-160,RSA-RIPEMD160,ripemd160WithRSA,1.3.36.3.2.1,"+
	"sm3,RSA-SM3,sm3WithRSAEncryption,1.2.156.10197.1.401,"+
	"md4,RSA-MD4,md4WithRSAEncryption,md5-sha1,whirlpool,blake2b512,BLAKE2s-256,shake128,SHAKE-256,"+
	"sha,mdc2,null,ecdsa-with-SHA256,dsaWithSHA1,DSA-SHA1,keccak-256,gost,sha512/256,sha512_256,sha3_256,"+
	"sha256 , sha256,sha-2,sha2,sha-3,,RSA,sm2,undef,sha256\n", ",")

func (g *generator) hashName() string {
	if g.chance(60) {
		return g.randomCase(pick(g, "sha1", "sha224", "sha256", "sha384", "sha512", "sha512", "sha3-256", "sha3-512"))
	}
	return g.randomCase(pick(g, hashNames...))
}

func (g *generator) randomCase(s string) string {
	if g.chance(50) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if g.chance(50) {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func (g *generator) content() []byte {
	switch n := g.IntN(300); {
	case n == 0:
		return pattern(maxPattern)
	case n < 15:
		return pattern(1 << 20)
	case n < 40: // signed already, if only in form
		return signedForm(pattern(1000), []byte("a message"))
	}
	return pattern(pick(g, 0, 1, 2, 27, 28, 40, 4095, 4096, 4097, 10000))
}

// module plants the module and returns its name.
func (g *generator) module() string {
	name := pick(g, "m.ko", "m.ko", "m.ko", "m.ko", "sub/m.ko", "./m.ko", "sub/../m.ko", "a b\n.ko", "-m.ko", "-", "m.ko.xz")
	g.add(node{path: "sub", mode: fs.ModeDir | 0o755})
	file := node{path: name, mode: pick(g, fs.FileMode(0o644), 0o600, 0o444, 0o755, 0o755|fs.ModeSetuid), content: g.content()}
	switch n := g.IntN(100); {
	case n < 72:
		g.add(file)
	case n < 78:
		file.path = "kept.ko"
		g.add(file, node{path: name, mode: fs.ModeSymlink, link: upFrom(name) + "kept.ko"})
	case n < 84:
		file.path = "kept.ko"
		g.add(file, node{path: name, hard: "kept.ko"})
	case n < 89:
		g.s.feed = file.content
		g.add(node{path: name, mode: fs.ModeNamedPipe | 0o644})
	case n < 93:
		g.add(node{path: name, mode: fs.ModeDir | 0o755})
	case n < 95:
		g.add(node{path: name, mode: fs.ModeSymlink, link: "nowhere"})
	case n < 97:
		g.add(file)
		return name + "/"
	case n < 98:
		return ""
	}
	return name // the last few are not there
}

// upFrom is the way from the folder of a planted file back to the root.
func upFrom(name string) string {
	return strings.Repeat("../", strings.Count(path.Clean(name), "/"))
}

// dest plants what <dest> names, if there is to be one.
func (g *generator) dest(module string) (string, bool) {
	old := node{path: "out.ko", mode: pick(g, fs.FileMode(0o600), 0o644, 0o444), content: []byte("the old content")}
	switch n := g.IntN(100); {
	case n < 42:
		return "", false
	case n < 54:
		return pick(g, "out.ko", "sub/out.ko", "-", "-weird", "-d", "é"), true
	case n < 62:
		g.add(old)
	case n < 66:
		return module, true
	case n < 69:
		return "missing/out.ko", true
	case n < 72:
		return pick(g, "sub", "sub/", ".", ""), true
	case n < 79:
		g.linkedDest(old)
		return pick(g, "link.ko", "sub/link.ko", "loop/link.ko"), true
	case n < 83:
		g.add(old, node{path: "second-name.ko", hard: old.path})
	case n < 88:
		return pick(g, "./", "sub/../", ".//") + module, true
	case n < 94:
		return g.alias(module), true
	case n < 96:
		return module + ".p7s", true
	case n < 98:
		return "/dev/null", true
	case n < 99:
		return "/dev/full", true
	default:
		return pick(g, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"), true
	}
	return old.path, true
}

// linkedDest plants links that lead to a file, to no file, or in a circle. Those
// below "loop", itself a link, lead wrong if ".." is taken by its text.
func (g *generator) linkedDest(old node) {
	old.path = "deep/down/out.ko"
	target := pick(g, "deep/down/out.ko", "deep/down/out.ko", "deep/down/new.ko", "missing/new.ko", "link.ko")
	g.add(node{path: "deep", mode: fs.ModeDir | 0o755}, node{path: "deep/down", mode: fs.ModeDir | 0o755}, old,
		node{path: "loop", mode: fs.ModeSymlink, link: "deep/down"},
		node{path: "link.ko", mode: fs.ModeSymlink, link: target},
		node{path: "sub/link.ko", mode: fs.ModeSymlink, link: "../" + target},
		node{path: "deep/down/link.ko", mode: fs.ModeSymlink, link: pick(g, "../other.ko", "../down/out.ko")})
}

// alias plants a second name of the module.
func (g *generator) alias(module string) string {
	if !g.planted(module) {
		return "alias.ko"
	}
	alias := node{path: "alias.ko", mode: fs.ModeSymlink, link: module}
	if g.chance(50) {
		alias.hard = module
	}
	g.add(alias)
	return alias.path
}

// planted tells whether a regular file or a link to one is there under this name.
func (g *generator) planted(name string) bool {
	return slices.ContainsFunc(g.s.nodes, func(n node) bool {
		return n.path == name && (n.mode.IsRegular() || n.hard != "")
	})
}

// raw plants the message that -s attaches. It's never the dest: the real sign-file
// would read what it writes for ever.
func (g *generator) raw() string {
	message := node{path: "raw", mode: 0o644, content: pattern(pick(g, 0, 1, 403, 4096, 100000))}
	switch n := g.IntN(100); {
	case n < 70:
		g.add(message)
	case n < 78:
		message.mode = fs.ModeDir | 0o755
		g.add(message)
	case n < 86:
		return "../../keys/rsa2048.pem"
	}
	return message.path
}

// extras plants what other runs have left behind.
func (g *generator) extras(module string) {
	base := strings.TrimSuffix(module, "/")
	if base == "" {
		return
	}
	g.leftover(base+".~signed~", 6)
	g.leftover(base+".p7s", 25)
}

func (g *generator) leftover(name string, percent int) {
	if !g.chance(percent) {
		return
	}
	n := node{path: name, mode: pick(g, fs.FileMode(0o600), 0o644), content: []byte("left from before")}
	switch g.IntN(8) {
	case 0:
		g.add(node{path: "victim", mode: 0o640, content: []byte("not to be touched")})
		n.mode, n.link = fs.ModeSymlink, upFrom(name)+"victim"
	case 1:
		n.mode, n.link = fs.ModeSymlink, "nowhere.yet"
	case 2:
		n.mode = fs.ModeDir | 0o755
	case 3:
		g.add(n, node{path: "second-" + path.Ext(name), hard: name})
		return
	case 4:
		n.mode, n.link = fs.ModeSymlink, path.Base(strings.TrimSuffix(strings.TrimSuffix(name, ".p7s"), ".~signed~"))
	}
	g.add(n)
}

// wrongCount makes the operands too few or too many.
func (g *generator) wrongCount(operands []string) []string {
	if g.chance(50) {
		return operands[:g.IntN(4)]
	}
	return append(append(operands, "a", "b")[:5:5], "six")
}

func (g *generator) flags() string {
	return pick(g, "", "", "", "", "p", "p", "d", "d", "k", "dp", "pk", "dk", "dpk", "kd", "dd", "s", "s", "sk", "sdpk")
}

// commandLine strews the flags among the operands.
func (g *generator) commandLine(operands []string, flags string) {
	args := slices.Clone(operands)
	end := len(args)
	switch {
	case g.chance(10) || slices.ContainsFunc(operands, func(o string) bool { return len(o) > 1 && o[0] == '-' }):
		// Before "--" flags are flags and operands may not start with "-".
		end = g.IntN(len(args) + 1)
		if i := slices.IndexFunc(args, func(o string) bool { return len(o) > 1 && o[0] == '-' }); i >= 0 && g.chance(90) {
			end = min(end, i)
		}
		args = slices.Insert(args, end, "--")
	case g.chance(8):
		g.s.env = append(g.s.env, "POSIXLY_CORRECT="+pick(g, "", "1"))
		if g.chance(70) {
			end = 0
		}
	}
	if g.chance(3) {
		flags += pick(g, "x", "h", "-", ":", "W", "D", "é", "-help", "-version")
	}
	for flags != "" {
		n := 1 + g.IntN(len(flags))
		args = slices.Insert(args, g.IntN(end+1), "-"+flags[:n])
		flags = flags[n:]
		end++
	}
	if g.chance(1) {
		args = slices.Insert(args, 0, pick(g, "--help", "--version"))
	}
	g.s.args = args
	posix := slices.ContainsFunc(g.s.env, func(v string) bool { return strings.HasPrefix(v, "POSIXLY_CORRECT=") })
	g.s.call = read(args, posix)
}

// shell is the scenario as one could type it.
func (s *scenario) shell() string {
	return fmt.Sprintf("umask %s; %s sign-file %q", s.umask, strings.Join(s.env, " "), s.args)
}
