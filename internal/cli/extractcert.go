package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"sign-file/certificate"
	"sign-file/keys"
)

const extractCertUsage = "Usage: extract-cert <source> <dest>\n"

// extractCert is the kernel's certs/extract-cert, for who calls the program by that name:
// the certificates of a PEM file or of a token, in DER, one behind the other.
func (p *program) extractCert(ctx context.Context, args []string) int {
	if len(args) != 2 {
		io.WriteString(p.err, extractCertUsage)
		return exitUsage
	}
	certificates, err := p.certificatesIn(ctx, args[0])
	if err == nil {
		err = notTheKey(args[1], args[0])
	}
	if err == nil {
		dest := args[1]
		if dest == "-" {
			dest = "./-" // a file, as for the kernel's
		}
		err = p.writeWith(dest, false, func(w io.Writer) error {
			for _, c := range certificates {
				if _, err := w.Write(c.Raw); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return p.fail(err)
	}
	if verbose() {
		for _, c := range certificates {
			fmt.Fprintf(p.err, "Extracted cert: %s\n", oneLine(certificate.OneLine(c.Subject)))
		}
	}
	return exitOK
}

// verbose is atoi(KBUILD_VERBOSE), of which 0 is false.
func verbose() bool {
	value := strings.TrimLeft(os.Getenv("KBUILD_VERBOSE"), " \t+")
	end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		value = value[:end]
	}
	n, err := strconv.Atoi(value)
	return err == nil && n != 0
}

// certificatesIn reads the source; an empty one has none.
func (p *program) certificatesIn(ctx context.Context, source string) ([]*certificate.Certificate, error) {
	switch {
	case source == "":
		return nil, nil
	case keys.IsTokenURI(source):
		c, err := certificateOnToken(ctx, keys.PINFromEnv(pinVariable), source)
		return []*certificate.Certificate{c}, err
	}
	file, err := p.readFile(source, certificate.MaxFileSize)
	if err != nil {
		return nil, err
	}
	all, err := certificate.PEM(file)
	if err == nil && len(all) == 0 {
		err = errors.New("no certificate in it (want PEM \"CERTIFICATE\")")
		if is := whatIs(file[:min(len(file), maxLook)]); is.name != "" {
			err = fmt.Errorf("%w, but %s", err, is.name)
		}
	}
	return all, about(source, err)
}
