package kernel

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/mapvalue"
	modsig "sign-file/module_signature"
)

// Module judges a file as init_module does, uncompressed as it is. The error says
// why there is no verdict.
func (j *Judge) Module(file io.ReaderAt, size int64) (*Verdict, error) {
	return j.decide(func() (*Verdict, error) {
		file := &reader{ReaderAt: file}
		v, err := j.module(file, size)
		if err == nil && j.usage == Module {
			v.load(j.kernel)
			err = v.loadELF(j.kernel, file, size)
		}
		if file.err != nil {
			return nil, file.err
		}
		return v, err
	})
}

// reader remembers that a file could not be read: then nothing that was found missing in it
// is missing.
type reader struct {
	io.ReaderAt
	err error
}

func (r *reader) ReadAt(b []byte, offset int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, offset)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	return n, err
}

// loadELF is elf_validity_check, which comes after the signature.
func (v *Verdict) loadELF(k *Kernel, file io.ReaderAt, size int64) error {
	if !v.Loads {
		return nil
	}
	if layout, err := modsig.Find(file, size); err == nil {
		size = layout.ContentSize // mod_verify_sig takes the signature off before it looks at it
	}
	bad := checkELF(file, size)
	switch newer := slices.Compare(k.version[:], []int{6, 18}); {
	case bad == errStringType && slices.Compare(k.version[:], []int{6, 12}) >= 0 && newer <= 0:
		return fmt.Errorf("not decided: %w, which some releases of Linux %s refuse", bad, k.Name)
	case (bad == errStrings || bad == errStringType) && newer < 0:
		bad = nil
	}
	if v.NoModule = bad; bad != nil {
		v.Loads, v.Taints, v.LoadErrno = false, false, syscall.ENOEXEC
	}
	return nil
}

// FaultError is a fault of this package over one input: there is no verdict. Fault is
// what the panic said.
type FaultError struct{ Fault any }

func (e *FaultError) Error() string {
	return fmt.Sprintf("not decided: a fault in sign-file (%v); please report it with this file", e.Fault)
}

// errNoKernel: a Judge that NewJudge did not make, or made of too little.
var errNoKernel = errors.New("not decided: no kernel to judge by, or an unknown usage")

// decide keeps a fault over one file from ending the judgement of others.
func (j *Judge) decide(judge func() (*Verdict, error)) (v *Verdict, err error) {
	if j == nil || j.kernel == nil {
		return nil, errNoKernel
	}
	defer func() {
		if fault := recover(); fault != nil {
			v, err = nil, &FaultError{fault}
		}
	}()
	return judge()
}

// elfHeader is sizeof(Elf64_Ehdr).
const elfHeader = 64

func (j *Judge) module(file io.ReaderAt, size int64) (*Verdict, error) {
	if err := j.kernel.missing[j.usage]; err != nil {
		return j.refused(err)
	}
	if j.usage == Module && size < elfHeader {
		return j.refused(refuse(syscall.ENOEXEC, "copy_module_from_user", "%d bytes are no ELF file", size))
	}
	if j.usage == Module && size > maxRead {
		return j.refused(refuse(syscall.EFBIG, "kernel_read_file", "a module of 2 GiB or more"))
	}
	layout, err := modsig.Find(file, size)
	if j.usage == Kexec || j.usage == IMA {
		err = hidden(j.foreignTrailer(err), err, file, size)
	}
	if err == modsig.ErrUnsigned {
		return j.unsigned(file, size)
	}
	if err != nil {
		return j.refused(err)
	}
	message := make([]byte, min(layout.SignatureSize(), cms.MaxSize+1))
	if err := readFull(file, message, layout.ContentSize); err != nil {
		return nil, err
	}
	v, err := j.message(message, io.NewSectionReader(file, 0, layout.ContentSize))
	if err == nil && v.Accepted && j.usage == Module {
		return j.checkFileHash(v, io.NewSectionReader(file, 0, size))
	}
	return v, err
}

// foreignTrailer gives an error of the trailer the errno of those who read it otherwise:
// s390_verify_sig has its own checks, and ima_read_modsig looks for a signature.
func (j *Judge) foreignTrailer(err error) error {
	var trailer *modsig.TrailerError
	isTrailer := errors.As(err, &trailer)
	switch {
	case j.usage == Kexec && err == modsig.ErrUnsigned:
		return advised(refuse(syscall.EKEYREJECTED, "s390_verify_sig", "%v", err), "unsigned", "")
	case j.usage == Kexec && isTrailer && trailer.Kind != modsig.NotZero:
		return refuse(syscall.EKEYREJECTED, "s390_verify_sig", "%v", err)
	case j.usage == IMA && (err == modsig.ErrUnsigned || isTrailer && trailer.Kind == modsig.NoRoom):
		return advised(refuse(syscall.ENOENT, "ima_read_modsig", "%v", err), "unsigned", "")
	}
	return err
}

// hidden adds to a refusal for being unsigned that something follows a signature.
func hidden(refusal, err error, file io.ReaderAt, size int64) error {
	var damaged *modsig.DamagedError
	if err != modsig.ErrUnsigned || !errors.As(modsig.Damaged(file, size), &damaged) {
		return refusal
	}
	more := *RefusalOf(refusal)
	more.Reason = damaged.Error()
	if more.Advice = "get the file anew"; damaged.Size > damaged.End {
		more.Advice = fmt.Sprintf("get the file anew, or cut what follows with truncate -s %d <file>", damaged.End)
	}
	return &more
}

// unsigned refuses a file without a marker at its end, and tells one that had it there.
func (j *Judge) unsigned(file io.ReaderAt, size int64) (*Verdict, error) {
	const where = "module_sig_check"
	var damaged *modsig.DamagedError
	switch err := modsig.Damaged(file, size); {
	case errors.As(err, &damaged) && damaged.Size > damaged.End:
		return j.refused(advised(refuse(syscall.ENODATA, where, "%v", err), "", "get the file anew, or cut what follows with truncate -s %d <file>", damaged.End))
	case damaged != nil:
		return j.refused(advised(refuse(syscall.ENODATA, where, "%v", err), "", "get the file anew"))
	case err != nil:
		return nil, err
	}
	return j.refused(refuse(syscall.ENODATA, where, "%v", modsig.ErrUnsigned))
}

// readFull reads bytes that have to be there.
func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil // whether or not the file ends there
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF // it shrank since
	}
	return err
}

// checkFileHash is Debian's mod_is_hash_blacklisted.
func (j *Judge) checkFileHash(v *Verdict, file *io.SectionReader) (*Verdict, error) {
	if !j.kernel.binBlacklist || !j.ring.blacklist.hasFiles() {
		return v, nil
	}
	h := sha256.New()
	if err := copyAll(h, file); err != nil {
		return nil, err
	}
	if !j.ring.blacklist.hasFile(h.Sum(nil)) {
		return v, nil
	}
	return j.refused(logged(syscall.EKEYREJECTED, "mod_is_hash_blacklisted", "is blacklisted", "the module itself is blacklisted"))
}

// MapValue judges a value as bpf_map_verify_value_sig does.
func (j *Judge) MapValue(value []byte) (*Verdict, error) {
	return j.decide(func() (*Verdict, error) { return j.mapValue(value) })
}

func (j *Judge) mapValue(value []byte) (*Verdict, error) {
	if err := j.kernel.missing[j.usage]; err != nil {
		return j.refused(err)
	}
	decoded, err := mapvalue.Decode(value)
	if err != nil {
		return j.refused(err)
	}
	return j.message(decoded.Message, io.NewSectionReader(bytes.NewReader(decoded.Data), 0, int64(len(decoded.Data))))
}

// Message judges a bare PKCS#7 message as verify_pkcs7_signature does.
func (j *Judge) Message(message []byte, data *io.SectionReader) (*Verdict, error) {
	return j.decide(func() (*Verdict, error) {
		if err := j.kernel.missing[j.usage]; err != nil {
			return j.refused(err)
		}
		return j.message(message, data)
	})
}

func (j *Judge) message(message []byte, data *io.SectionReader) (*Verdict, error) {
	m, err := j.parseMessage(message)
	if err == nil {
		err = m.check(j, &contents{data: data})
	}
	if err != nil {
		return j.refused(err)
	}
	v := &Verdict{Accepted: true, Kernel: j.kernel.Name, DataSize: data.Size()}
	for _, s := range m.signers {
		if s.by == nil {
			continue
		}
		v.Signers = append(v.Signers, s.report())
	}
	if what := laxness(message); what != "" {
		v.Lax = "accepted by the kernel, not written by any signer: " + what
	}
	return v, nil
}

// Certificate judges a certificate as add_key("asymmetric") does.
func (j *Judge) Certificate(der []byte) (*Verdict, error) {
	return j.decide(func() (*Verdict, error) {
		if _, err := j.addKey(der); err != nil {
			v, err := j.refused(err)
			if err == nil {
				v.Advice = "make another certificate: sign-file keygen makes a key and one that kernels take"
			}
			return v, err
		}
		return &Verdict{Accepted: true, Kernel: j.kernel.Name, DataSize: int64(len(der))}, nil
	})
}

// maxKeySize is what add_key copies from user space.
const maxKeySize = 1<<20 - 1

func (j *Judge) addKey(der []byte) (*x509, error) {
	if len(der) == 0 || len(der) > maxKeySize {
		return nil, refuse(syscall.EINVAL, "add_key", "%d bytes are too few or too many for a key", len(der))
	}
	c, err := j.kernel.parseCertificate(der, j.ring.blacklist)
	if err == nil && c.blacklisted {
		return nil, logged(syscall.EKEYREJECTED, "x509_key_preparse", "is blacklisted", "the certificate is blacklisted")
	}
	return c, err
}

// Signer is a signer whose signature has been verified.
type Signer struct {
	ID          cms.SignerID
	Hash        string // the name of the hash that the message names
	Attributes  bool
	Value       []byte
	Certificate *certificate.Certificate // the trusted one, which may be that of an issuer
	Keyring     Keyring                  // that the certificate is in
	// Embedded is the signer's own certificate where it came with the message, and
	// Certificate vouches for it.
	Embedded *certificate.Certificate
}

func (s *signerInfo) report() Signer {
	r := Signer{ID: s.cmsID(), Hash: s.hash.name, Attributes: s.attributes != nil, Value: s.value, Keyring: s.by.keyring}
	r.Certificate = s.by.read()
	if s.signer != nil && !bytes.Equal(s.signer.raw, s.by.raw) {
		r.Embedded = s.signer.read()
	}
	return r
}

// contents is what a message is about. Each digest of it is computed once.
type contents struct {
	data *io.SectionReader
	sums map[*hash][]byte
}

func (c *contents) sum(h *hash) ([]byte, error) {
	if sum, ok := c.sums[h]; ok {
		return sum, nil
	}
	if h.algorithm == nil {
		return h.sum(nil)
	}
	w := h.algorithm.New()
	if err := c.write(w); err != nil {
		return nil, err
	}
	if c.sums == nil {
		c.sums = map[*hash][]byte{}
	}
	c.sums[h] = w.Sum(nil)
	return c.sums[h], nil
}

func (c *contents) write(w io.Writer) error {
	return copyAll(w, io.NewSectionReader(c.data, 0, c.data.Size()))
}

// buffers are shared: a tree of modules has thousands of small files.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copyAll is io.Copy with a buffer that is used again.
func copyAll(w io.Writer, r *io.SectionReader) error {
	buffer := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buffer[:])
	if err == nil && n != r.Size() {
		err = io.ErrUnexpectedEOF // it shrank since
	}
	return err
}
