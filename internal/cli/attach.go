package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"sign-file/digest"
	"sign-file/keys"
	"sign-file/mapvalue"
	"sign-file/signfile"
)

func (p *program) digestCommand() *cli.Command {
	return &cli.Command{
		Name:      "digest",
		Usage:     "write what a remote signer must sign",
		ArgsUsage: "<hash algo> <file>",
		Description: "raw is the digest, for ECDSA and for services that build the RSA block themselves;\n" +
			"digestinfo is what an RSA PKCS#1 v1.5 signature covers, for those that do not.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: formatRaw, Usage: "`raw`, digestinfo, hex or json"},
		},
		Action: p.digest,
	}
}

// digestReport is what digest --format json prints.
type digestReport struct {
	File       string `json:"file"`
	Hash       string `json:"hash"`
	Digest     string `json:"digest"`     // hex
	DigestInfo string `json:"digestinfo"` // hex, DER
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
	sum, err := p.sum(algorithm, args[1])
	if err != nil {
		return err
	}
	switch how := c.String("format"); how {
	case formatRaw:
		return p.write("-", sum, false)
	case "digestinfo":
		return p.write("-", algorithm.DigestInfo(sum), false)
	case formatHex:
		return p.printf("%x\n", sum)
	case "json":
		return p.writeJSON(digestReport{
			File: args[1], Hash: algorithm.Name(), Digest: hex.EncodeToString(sum),
			DigestInfo: hex.EncodeToString(algorithm.DigestInfo(sum)),
		})
	default:
		return usagef("--format %s: want raw, digestinfo, hex or json", how)
	}
}

// sum hashes a file, or standard input for "-".
func (p *program) sum(algorithm *digest.Algorithm, path string) ([]byte, error) {
	return p.readAll(path, func(r io.Reader) ([]byte, error) {
		h := algorithm.New()
		_, err := io.Copy(h, r)
		return h.Sum(nil), err
	})
}

// attachFlags name the parts of a signature that was made elsewhere.
var attachFlags = []cli.Flag{
	&cli.StringFlag{Name: "signature", Required: true, Usage: "`FILE` with the bare signature value: RSA, or ECDSA in DER or as r and s"},
	&cli.StringFlag{Name: "cert", Required: true, Usage: "`FILE` with the signer's certificate"},
	&cli.StringFlag{Name: "hash", Required: true, Usage: "hash `ALGORITHM` that was signed with"},
	&cli.BoolFlag{Name: "k", Usage: "name the signer by subject key identifier"},
}

func (p *program) attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "sign a module with a signature value that was made elsewhere",
		ArgsUsage: "<module> [<dest>]",
		Flags:     attachFlags,
		Action:    p.attach,
	}
}

// maxSignature bounds a signature value, in bytes: more than RSA-16384 or ML-DSA-87.
const maxSignature = 16 << 10

// presigned makes a signer of --signature, --cert and --hash.
func (p *program) presigned(c *cli.Context) (*signfile.Signer, error) {
	cert, err := readCertificate(c.String("cert"))
	if err != nil {
		return nil, err
	}
	public, err := cert.PublicKey()
	if err != nil {
		return nil, about(c.String("cert"), err)
	}
	file := c.String("signature")
	value, err := p.readAll(file, func(r io.Reader) ([]byte, error) {
		return io.ReadAll(io.LimitReader(r, maxSignature+1))
	})
	if err != nil {
		return nil, err
	}
	if len(value) == 0 || len(value) > maxSignature {
		return nil, fmt.Errorf("%s: not a bare signature value: %d bytes", file, len(value))
	}
	return newSigner(keys.Presigned(public, value), c.String("hash"), c.String("cert"), c.Bool("k"))
}

func (p *program) attach(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, err := p.presigned(c)
	if err != nil {
		return err
	}
	module, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer module.Close()
	var out signfile.Output
	if len(args) == 2 {
		out.Dest = args[1]
	}
	return about(args[0], signer.SignFile(c.Context, module, out))
}

func (p *program) mapAttach(c *cli.Context) error {
	args, err := operands(c, 1, 2)
	if err != nil {
		return err
	}
	signer, err := p.presigned(c)
	if err != nil {
		return err
	}
	return p.signValue(c, signer, args[0], output(args, 1))
}

// signValue signs data and writes it as a map value.
func (p *program) signValue(c *cli.Context, signer *signfile.Signer, source, path string) error {
	data, err := p.readAll(source, mapvalue.Read)
	if err != nil {
		return err
	}
	signed, err := signData(c.Context, signer, data)
	if err != nil {
		return about(source, err)
	}
	return p.writeValue(c, source, signed, path)
}

func signData(ctx context.Context, signer *signfile.Signer, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, mapvalue.ErrEmptyData
	}
	var signed bytes.Buffer
	err := signer.Sign(ctx, &signed, bytes.NewReader(data))
	return signed.Bytes(), err
}
