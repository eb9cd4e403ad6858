package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rule is one deliberate difference. covers sees a whole comparison and one of the
// things that are different in it. Our program's own outcome is checked apart from
// that (checkOurs), so a rule need not tell that ours is right, only why the real
// one's is another.
type rule struct {
	name, why string
	covers    func(c *comparison, d difference) bool
}

// rules is every deliberate difference from sign-file, the first that fits counting.
// docs/differences.md has the same list for users.
var rules = []rule{
	{"second face", "a subcommand, --help or --version as the first word was a usage error",
		func(c *comparison, d difference) bool {
			return c.real.status == 2 && len(c.args) > 0 && slices.Contains([]string{"--help", "--version"}, c.args[0])
		}},
	{"dest is the module", "dest, truncated before it is copied from, destroys the module that it also names",
		func(c *comparison, d difference) bool { return c.ours.status == 0 && c.destIsModule() }},
	{"message is the module", ".p7s, a link to the module, destroys it",
		func(c *comparison, d difference) bool { return c.same(c.module(), c.module()+".p7s") }},
	{"stale temporary file", "<module>.~signed~ is written through, whatever it is, and becomes the module",
		func(c *comparison, d difference) bool {
			return c.ours.status == 0 && c.before(c.module()+".~signed~").mode != 0 && c.inPlace() && !c.detaches()
		}},
	{"failure leaves nothing", "what was written before the failure stays behind",
		func(c *comparison, d difference) bool {
			return c.real.status != 0 && c.ours.status != 0 &&
				(d.what == "stdout" && c.ours.stdout == "" || d.what != "status" && d.path != "" && c.untouched(d.path))
		}},
	{"a full device", "failed writes of the signed file are ignored",
		func(c *comparison, d difference) bool { return c.dest() == "/dev/full" && c.onlyOursFails(d) }},
	{"a directory is no module", "-d signs what could be read of it, which is nothing",
		func(c *comparison, d difference) bool {
			return c.isDir(c.module()) && c.detaches() && c.onlyOursFails(d)
		}},
	{"a directory is no message", "-s attaches what could be read of it, which is nothing",
		func(c *comparison, d difference) bool {
			return c.has("s") && c.isDir(c.operand(0)) && c.onlyOursFails(d)
		}},
	{"attributes are kept", "a module signed in place gets a new file's mode",
		func(c *comparison, d difference) bool {
			info := c.ours.names[c.module()]
			return d.what == "mode" && c.inPlace() && info != nil &&
				filepath.Clean(c.module()) == d.path && c.ours.after[d.path].mode == info.Mode()
		}},
	{"set-id bits do not travel", "through a link, and to other content, a file keeps what lends its owner's rights",
		func(c *comparison, d difference) bool {
			const setID = fs.ModeSetuid | fs.ModeSetgid
			for _, output := range c.outputs() {
				info := c.ours.names[output]
				if d.what == "mode" && info != nil && info.Mode()&setID != 0 && c.ours.after[d.path].mode == info.Mode()&^setID {
					return true
				}
			}
			return false
		}},
	{"links keep the old file", "an existing output is written through, and so changes under its other names",
		func(c *comparison, d difference) bool {
			return c.ours.status == 0 && slices.ContainsFunc(c.outputs(), func(output string) bool {
				info := c.ours.names[output]
				return info != nil && c.linkOf(d.path, info) && (c.untouched(d.path) || d.what == "inode")
			})
		}},
	{"DER keys", "keys are read only as PEM",
		func(c *comparison, d difference) bool {
			return strings.HasSuffix(c.key(), ".der") && c.onlyOursWorks()
		}},
	{"bundles", "<x509> is one certificate and no PKCS#7 bundle of one",
		func(c *comparison, d difference) bool {
			return strings.HasSuffix(c.cert(), ".p7b") && c.onlyOursWorks()
		}},
	{"kinds of keys", "the kernel can verify none of these; RSA-PSS is even labelled as something else",
		func(c *comparison, d difference) bool {
			return slices.Contains([]string{"rsa-pss", "dsa"}, c.kind()) && c.onlyOursFails(d)
		}},
	{"curves", "the kernel knows only NIST's curves, and so does Go",
		func(c *comparison, d difference) bool {
			return slices.Contains([]string{"secp256k1", "brainpoolP256r1"}, c.kind()) && c.onlyOursFails(d)
		}},
	{"newer hashes", "OpenSSL 3.0 has no ECDSA with SHA-3 and no RSA with SM3; 3.5 has",
		func(c *comparison, d difference) bool {
			return (strings.Contains(c.hash(), "sha3-") || strings.Contains(c.hash(), "sm3") ||
				strings.HasPrefix(c.hash(), "2.16.840.1.101.3.4.2.") || c.hash() == "1.2.156.10197.1.401") && c.onlyOursWorks()
		}},
	{"commands", "it has none, and says nothing of a first operand that is no hash",
		func(c *comparison, d difference) bool {
			var rest []string
			for line := range strings.Lines(c.ours.stderr) {
				if !strings.HasPrefix(line, "sign-file: no command ") && !strings.Contains(line, "the hash algorithm comes first") {
					rest = append(rest, line)
				}
			}
			return d.what == "stderr" && c.ours.status == 2 && strings.Join(rest, "") == c.real.stderr
		}},
	{"signed already", "it is signed again without a word",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.ours.status == 0 && strings.Contains(c.ours.stderr, "is signed already")
		}},
	{"old hashes", "it signs with hashes that no kernel verifies any more without a word",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.ours.status == 0 && strings.Contains(c.ours.stderr, "verifies a signature with")
		}},
	{"keys of no kernel", "it signs with keys that no kernel takes without a word",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.ours.status == 0 && strings.Contains(c.ours.stderr, "no kernel verifies a signature by this key")
		}},
	{"hidden signatures", "it signs what was signed once, and can't be seen to be, without a word",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.ours.status == 0 && (strings.Contains(c.ours.stderr, "its signature is") || strings.Contains(c.ours.stderr, "is compressed, and"))
		}},
	{"no message", "-s attaches what no kernel will accept without a word",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.has("s") && c.ours.status == 0 && (strings.Contains(c.ours.stderr, "is no PKCS#7 message") || strings.Contains(c.ours.stderr, "with this message") || strings.Contains(c.ours.stderr, "the message is not one by"))
		}},
	{"errors say why", "the error is a file's name below OpenSSL's own stack of errors",
		func(c *comparison, d difference) bool {
			return d.what == "stderr" && c.ours.status == 1 && strings.Contains("\n"+c.ours.stderr, "\nsign-file: ")
		}},
}

func ruleNames() []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.name+": "+r.why)
	}
	return names
}

// kind is the certificate's file name without folder and suffix.
func (c *comparison) kind() string {
	if c.has("s") {
		return ""
	}
	base := filepath.Base(c.cert())
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// before is what stood in the tree under a name.
func (c *comparison) before(name string) entry { return c.ours.before[filepath.Clean(name)] }

// untouched tells that our program left a file as it was, or left it out.
func (c *comparison) untouched(path string) bool {
	before, after := c.ours.before[path], c.ours.after[path]
	before.inode, after.inode = "", ""
	return before == after
}

// onlyOursFails covers the exit status, the messages, and what only the real program
// then did to the tree.
func (c *comparison) onlyOursFails(d difference) bool {
	return c.real.status == 0 && c.ours.status == 1 && (d.path == "" || c.untouched(d.path))
}

func (c *comparison) onlyOursWorks() bool {
	return !c.has("s") && c.real.status == 1 && c.ours.status == 0
}

func (c *comparison) isDir(name string) bool {
	info := c.ours.names[name]
	return info != nil && info.IsDir()
}

// same tells that two names led to one file.
func (c *comparison) same(a, b string) bool {
	first, second := c.ours.names[a], c.ours.names[b]
	return first != nil && second != nil && os.SameFile(first, second)
}

func (c *comparison) destIsModule() bool {
	return !c.inPlace() && !c.detaches() && c.same(c.module(), c.dest())
}

// linkOf tells that a path of the tree was one of several names of that file.
func (c *comparison) linkOf(path string, info fs.FileInfo) bool {
	for name, other := range c.ours.names {
		if !os.SameFile(info, other) {
			continue
		}
		// Names of operands and paths of the tree meet in the inode's first name.
		relative, err := filepath.Rel(c.ours.root, c.ours.root+"/"+name)
		if err == nil && c.ours.before[relative].inode != "" && c.ours.before[relative].inode == c.ours.before[path].inode {
			return true
		}
	}
	return false
}
