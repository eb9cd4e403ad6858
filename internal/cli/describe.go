package cli

import (
	"cmp"
	"fmt"
	"io"

	"sign-file/certificate"
	"sign-file/cms"
	"sign-file/digest"
	"sign-file/internal/fips204"
	"sign-file/internal/scheme"
	"sign-file/kernel"
	modsig "sign-file/module_signature"
)

// The JSON objects of verify and inspect. Field names are stable.

// signerReport is one signer of a message.
type signerReport struct {
	Issuer        string `json:"issuer,omitempty"`
	Serial        string `json:"serial,omitempty"`
	KeyID         string `json:"key_id,omitempty"`
	Hash          string `json:"hash"`
	Algorithm     string `json:"algorithm"`
	SignatureSize int    `json:"signature_size"`
	Attributes    bool   `json:"signed_attributes,omitempty"`
	Problem       string `json:"problem,omitempty"` // of the signature's value, as far as it shows
	// What only the trusted certificate tells.
	Subject string `json:"subject,omitempty"`
	Key     string `json:"key,omitempty"`
	// VouchedBy is the trusted certificate where the signer's own came with the message.
	VouchedBy string `json:"vouched_by,omitempty"`
	Keyring   string `json:"keyring,omitempty"` // that it is in, where that is known
}

func reportSigner(s cms.SignerInfo) signerReport {
	r := signerReport{
		Hash:          s.Digest.OID.String(),
		SignatureSize: len(s.Signature),
		Attributes:    s.SignedAttributes != nil,
	}
	r.name(s.ID)
	if a := digest.ByOID(s.Digest.OID); a != nil {
		r.Hash = a.Name()
	}
	switch {
	case s.Algorithm.OID.Equal(scheme.OIDRSA()):
		r.Algorithm, r.Problem = rsaValue(s.Signature)
	case digest.ByECDSAOID(s.Algorithm.OID) != nil:
		r.Algorithm = "ECDSA"
	default:
		r.Algorithm = s.Algorithm.OID.String()
		if parameters, ok := fips204.ByOID(s.Algorithm.OID); ok {
			r.Algorithm = parameters.String()
		}
	}
	return r
}

// rsaValue names the key that a value is of, by its length. A length that no key has is
// most often one whose leading zero bytes were dropped, which happens to one value in 256.
func rsaValue(value []byte) (algorithm, problem string) {
	const word = 8 // what keys are multiples of, in bytes
	whole := (len(value) + word - 1) / word * word
	if whole == len(value) {
		return fmt.Sprintf("RSA-%d", 8*len(value)), ""
	}
	return fmt.Sprintf("RSA-%d", 8*whole), fmt.Sprintf("it lacks %d of the %d bytes of such a value, most likely zero bytes at its beginning, and no kernel takes it so", whole-len(value), whole)
}

func reportVerified(s kernel.Signer) signerReport {
	r := signerReport{SignatureSize: len(s.Value), Attributes: s.Attributes, Hash: s.Hash, Keyring: string(s.Keyring)}
	r.name(s.ID)
	if s.Certificate != nil {
		r.Subject = certificate.FormatName(s.Certificate.Subject)
		if s.Embedded != nil {
			r.Subject, r.VouchedBy = certificate.FormatName(s.Embedded.Subject), r.Subject
		}
		signer := s.Certificate
		if s.Embedded != nil {
			signer = s.Embedded
		}
		if key, err := signer.PublicKey(); err == nil {
			r.Key = certificate.KeyName(key)
			r.Algorithm = r.Key
		}
	}
	return r
}

func (r *signerReport) name(id cms.SignerID) {
	if id.ByKeyID() {
		r.KeyID = certificate.FormatKeyID(id.SubjectKeyID)
	} else {
		r.Issuer, r.Serial = certificate.FormatName(id.Issuer), certificate.FormatSerial(id.Serial)
	}
}

// who names the signer in a line for people: by its subject once its certificate is
// known, and else by what leads to that.
func (r signerReport) who() string {
	if r.Subject != "" && r.Subject != r.Issuer {
		return r.Subject + ", found by " + r.found()
	}
	return r.found()
}

// in names the keyring that the certificate is in.
func (r signerReport) in() string {
	by := ""
	if r.VouchedBy != "" {
		by = ", vouched for by " + r.VouchedBy
	}
	if r.Keyring == "" {
		return by
	}
	return by + ", in " + r.Keyring
}

func (r signerReport) found() string {
	if r.KeyID != "" {
		return "key identifier " + r.KeyID
	}
	if r.Subject != "" && r.Subject != r.Issuer {
		return fmt.Sprintf("issuer %s, serial %s", r.Issuer, r.Serial)
	}
	return fmt.Sprintf("%s, serial %s", r.Issuer, r.Serial)
}

// verdictReport is what verify says of one file.
type verdictReport struct {
	fileField
	textField
	Message   string           `json:"message,omitempty"` // of --signature: the rest is said of the file once it is attached
	Accepted  bool             `json:"accepted"`
	Kernel    string           `json:"kernel,omitempty"`
	DataSize  int64            `json:"data_size,omitempty"`
	Signers   []signerReport   `json:"signers,omitempty"`
	Lax       string           `json:"lax,omitempty"`
	Errno     string           `json:"errno,omitempty"`
	Number    int              `json:"errno_number,omitempty"`
	Function  string           `json:"function,omitempty"`
	Cause     string           `json:"cause,omitempty"` // a row of docs/rejected.md
	Reason    string           `json:"reason,omitempty"`
	Log       string           `json:"log,omitempty"`
	Advice    string           `json:"advice,omitempty"`
	Container *containerReport `json:"container,omitempty"`
	// Only for modules: what init_module makes of it.
	Loads      *bool  `json:"loads,omitempty"`
	Unsure     string `json:"loads_unknown,omitempty"` // why Loads is not there
	Taints     bool   `json:"taints,omitempty"`
	NoModule   string `json:"no_module,omitempty"` // why it is no module, whatever its signature
	LoadErrno  string `json:"load_errno,omitempty"`
	LoadNumber int    `json:"load_errno_number,omitempty"`

	Error string `json:"error,omitempty"` // why there is no verdict
}

// textField says that a file is text, which spells map values and is none, and of which of
// them the report is. A kernel gets the bytes.
type textField struct {
	Text     string `json:"text,omitempty"`     // hex, c, bpftool or bpftool-json
	Element  int    `json:"element,omitempty"`  // counted from 1: the first that is refused, or else the first
	Elements int    `json:"elements,omitempty"` // how many there are, all judged
	Key      string `json:"key,omitempty"`      // of the element, in hexadecimal
}

// which says what of the file is judged, where that is not the file as it is.
func (r verdictReport) which() string {
	switch {
	case r.Message != "" && r.Loads != nil:
		return " with " + r.Message + " attached"
	case r.Message != "":
		return " with " + r.Message
	}
	return r.textField.which(r.Accepted)
}

// which names the element, where there are several.
func (t textField) which(accepted bool) string {
	key := ""
	if t.Key != "" {
		key = " (key " + t.Key + ")"
	}
	switch {
	case t.Elements < 2:
		return ""
	case accepted:
		return fmt.Sprintf(", all %d elements", t.Elements)
	}
	return fmt.Sprintf(", element %d of %d%s", t.Element, t.Elements, key)
}

// containerReport is how a module is compressed, and what reads it.
type containerReport struct {
	Format  string `json:"format"`            // gzip, xz or zstd
	ReadBy  string `json:"read_by"`           // kernel or kmod
	Problem string `json:"problem,omitempty"` // of kernels that decompress this format
}

func reportContainer(c *kernel.Container) *containerReport {
	if c == nil {
		return nil
	}
	r := containerReport{Format: c.Format, ReadBy: "kmod", Problem: c.Problem}
	if c.ByKernel {
		r.ReadBy = "kernel"
	}
	return &r
}

// beware says what other kernels would make of the file.
func (r *containerReport) beware() string {
	if r == nil || r.Problem == "" || r.ReadBy == "kernel" {
		return ""
	}
	return "; beware: no kernel that decompresses modules by itself reads this file (" + r.Problem + "); sign-file sign --replace mends it"
}

func reportVerdict(path string, v *kernel.Verdict, loads bool) verdictReport {
	r := verdictReport{
		fileField: fileNamed(path), Accepted: v.Accepted, Kernel: v.Kernel, DataSize: v.DataSize, Lax: v.Lax,
		Container: reportContainer(v.Container),
		Number:    int(v.Errno), Function: v.Func, Cause: v.Cause, Reason: v.Reason, Log: v.Log, Advice: v.Advice,
	}
	for _, s := range v.Signers {
		r.Signers = append(r.Signers, reportVerified(s))
	}
	if v.Errno != 0 {
		r.Errno = v.Name()
	}
	if loads {
		if v.NoModule != nil {
			r.NoModule = v.NoModule.Error()
		}
		if r.Unsure = v.Unsure; v.Unsure == "" {
			r.Loads = &v.Loads
		}
		r.Taints, r.LoadNumber = v.Taints, int(v.LoadErrno)
		if v.LoadErrno != 0 {
			r.LoadErrno = kernel.ErrnoName(v.LoadErrno)
		}
	}
	return r
}

// print prints the verdict as one line for people.
func (r verdictReport) print(p *program) error {
	if !r.Accepted {
		return p.printf("%s%s: %s: %s (%s from %s)%s%s%s%s\n", r.File, r.which(), p.red("refused"), r.Reason, r.Errno, r.Function, r.loading(), r.logLine(), r.toDo(), r.Container.beware())
	}
	s := r.Signers[0]
	lax := ""
	if r.Lax != "" {
		lax = "; " + r.Lax
	}
	return p.printf("%s%s: %s: %d bytes signed by %s (%s, %s%s)%s%s%s\n", r.File, r.which(), p.green("verified"), r.DataSize, s.who(), s.Hash, cmp.Or(s.Key, "a key that only the kernel reads"), s.in(), r.loading(), lax, r.Container.beware())
}

// loading says what init_module does where that's another answer.
func (r verdictReport) loading() string {
	switch {
	case r.Unsure != "":
		return ", and whether it loads is not decided: " + r.Unsure
	case r.NoModule != "":
		return ", but " + r.NoModule + ", so init_module returns " + r.LoadErrno
	case !r.Accepted && r.Loads != nil && *r.Loads && !r.Taints:
		return ", and loads: this kernel looks at no module's signature"
	case r.Taints:
		return ", loads without sig_enforce and taints the kernel"
	case r.LoadErrno != "" && r.LoadErrno != r.Errno:
		return ", does not load: init_module returns " + r.LoadErrno
	case r.Loads != nil && !*r.Loads:
		return ", does not load"
	}
	return ""
}

// toDo is the advice, where there is one and something has to be done.
func (r verdictReport) toDo() string {
	if r.Advice == "" || r.Loads != nil && *r.Loads && !r.Taints {
		return ""
	}
	return "; to do: " + r.Advice
}

func (r verdictReport) logLine() string {
	if r.Log == "" {
		return ""
	}
	return fmt.Sprintf(", kernel log: %q", r.Log)
}

// messageReport is what inspect says of one signature.
type messageReport struct {
	Size         int64          `json:"size"`
	ContentSize  int64          `json:"content_size"`
	Version      int            `json:"version,omitempty"`
	Certificates bool           `json:"certificates,omitempty"`
	Signers      []signerReport `json:"signers,omitempty"`
	Error        string         `json:"error,omitempty"`
}

func reportMessage(der []byte, size, contentSize int64) messageReport {
	r := messageReport{Size: size, ContentSize: contentSize}
	signed, err := cms.Parse(der)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Version, r.Certificates = signed.Version, signed.Certificates != nil
	for _, s := range signed.Signers {
		r.Signers = append(r.Signers, reportSigner(s))
	}
	return r
}

func (r messageReport) print(p *program, indent string) error {
	line := func(name, format string, args ...any) error {
		return p.printf("%s%-12s %s\n", indent, name, fmt.Sprintf(format, args...))
	}
	var errs []error
	if r.ContentSize > 0 {
		errs = append(errs, line("content", "%d bytes", r.ContentSize))
	}
	errs = append(errs, line("signature", "%d bytes of PKCS#7", r.Size))
	for _, s := range r.Signers {
		errs = append(errs, line("signer", "%s", s.who()), line("hash", "%s", s.Hash),
			line("key type", "%s, signature value of %d bytes", s.Algorithm, s.SignatureSize))
		if s.Problem != "" {
			errs = append(errs, line("short", "%s", s.Problem))
		}
		if s.Attributes {
			errs = append(errs, line("attributes", "signed (refused in modules, by most kernels with ML-DSA too)"))
		}
	}
	if r.Error != "" {
		errs = append(errs, line("malformed", "%s", r.Error))
	}
	return cmp.Or(errs...)
}

// readMessage reads the PKCS#7 message behind the content, as far as the kernel
// would: cms.Parse refuses what is longer.
func readMessage(module io.ReaderAt, layout modsig.Layout) ([]byte, error) {
	b := make([]byte, min(layout.SignatureSize(), cms.MaxSize+1))
	_, err := module.ReadAt(b, layout.ContentSize)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // it shrank since
	}
	return b, err
}
