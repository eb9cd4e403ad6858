package cli

import (
	"context"
	"encoding/hex"
	"io"

	"filippo.io/mldsa"
	"github.com/urfave/cli/v2"

	"sign-file/digest"
	"sign-file/signfile"
)

func (p *program) digestCommand() *cli.Command {
	return &cli.Command{
		Name:      "digest",
		Usage:     "write what a remote signer must sign",
		ArgsUsage: "<hash algo> <file>",
		Description: "raw is the digest, for ECDSA and for services that build the RSA block themselves;\n" +
			"digestinfo is what an RSA PKCS#1 v1.5 signature covers, for those that do not.\n" +
			"For an ML-DSA key name its certificate: raw is mu then, which depends on the key.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: formatRaw, Usage: "`raw`, digestinfo, hex or json"},
			&cli.StringFlag{Name: "cert", Usage: "`FILE` with the certificate of the key that is to sign"},
			signedAttributesFlag(),
		},
		Action: p.digest,
	}
}

// digestReport is what digest --format json prints.
type digestReport struct {
	fileField
	Hash       string `json:"hash"`
	Digest     string `json:"digest,omitempty"`     // hex
	DigestInfo string `json:"digestinfo,omitempty"` // hex, DER
	Mu         string `json:"mu,omitempty"`         // hex, in place of both for ML-DSA
}

func (p *program) digest(c *cli.Context) error {
	args, err := operands(c, 2, 2)
	if err != nil {
		return err
	}
	algorithm, err := digest.Lookup(args[0])
	if err != nil {
		return err
	}
	sum, isMu, err := p.toSign(c, algorithm, args[1])
	if err != nil {
		return err
	}
	switch how := c.String("format"); {
	case how == formatRaw:
		return p.write(sum, false)
	case how == formatHex:
		return p.printf("%x\n", sum)
	case how == "json" && isMu:
		return p.writeJSON(digestReport{fileField: fileNamed(args[1]), Hash: algorithm.Name(), Mu: hex.EncodeToString(sum)})
	case how == "json":
		return p.writeJSON(digestReport{
			fileField: fileNamed(args[1]), Hash: algorithm.Name(), Digest: hex.EncodeToString(sum),
			DigestInfo: hex.EncodeToString(algorithm.DigestInfo(sum)),
		})
	case how == "digestinfo" && isMu:
		return usagef("--format digestinfo: is for RSA keys, and the certificate's is ML-DSA")
	case how == "digestinfo":
		return p.write(algorithm.DigestInfo(sum), false)
	default:
		return usagef("--format %s: want raw, digestinfo, hex or json", how)
	}
}

// toSign reads a file, or standard input for "-", and returns what the key is to
// sign: the digest, or mu if the certificate has an ML-DSA key.
func (p *program) toSign(c *cli.Context, algorithm *digest.Algorithm, path string) (sum []byte, isMu bool, err error) {
	cert := c.String("cert")
	if cert == "" {
		if c.Bool("signed-attributes") {
			return nil, false, usagef("--signed-attributes wants --cert")
		}
		sum, err = p.readModule(readOnly(c.Context), path, func(r io.Reader) ([]byte, error) {
			h := algorithm.New()
			_, err := io.Copy(h, r)
			return h.Sum(nil), err
		})
		return sum, false, err
	}
	signer, public, err := p.signerLater(c, nil, algorithm.Name())
	if err != nil {
		return nil, false, err
	}
	sum, err = p.readModule(readOnly(c.Context), path, func(r io.Reader) ([]byte, error) {
		return signer.Digest(c.Context, r)
	})
	_, isMu = public.(*mldsa.PublicKey)
	return sum, isMu, err
}

// readModule reads a module's content, or standard input for "-".
func (p *program) readModule(ctx context.Context, path string, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	if path == "-" {
		in, err := p.input()
		if err != nil {
			return nil, about("standard input", err)
		}
		sum, err := read(in)
		return sum, about("standard input", err)
	}
	module, err := signfile.OpenModule(ctx, path)
	if err != nil {
		return nil, err
	}
	defer module.Close()
	sum, err := read(io.NewSectionReader(module, 0, module.Size()))
	if err == nil {
		err = module.Check()
	}
	return sum, about(path, err)
}
