package main

import (
	"crypto/rsa"
	"fmt"
	"io"
	"slices"
	"time"

	"sign-file/internal/rsalanes"
)

// signatures is how many RSA signatures one core makes in a second.
func (b *bench) signatures(out io.Writer) error {
	fmt.Fprintf(out, "\nRSA signatures a second, one core:\n\n| key | crypto/rsa | AVX2 | AVX-512 IFMA | in fours |\n|---|---|---|---|---|\n")
	for _, name := range []string{"rsa2048", "rsa4096"} {
		signer, err := b.signer(name)
		if err != nil {
			return err
		}
		private, ok := signer.(*rsa.PrivateKey)
		if !ok {
			return fmt.Errorf("%s is no RSA key", name)
		}
		fmt.Fprintf(out, "| %s |", keyName(name))
		info := make([]byte, 83) // a DigestInfo is that long with SHA-512
		standard := func() error { _, err := rsa.SignPKCS1v15(nil, private, 0, info); return err }
		if err := cell(out, 1, standard); err != nil {
			return err
		}
		for _, i := range []rsalanes.Instructions{rsalanes.AVX2, rsalanes.IFMA} {
			if best := rsalanes.Best(); best == rsalanes.None || i == rsalanes.IFMA && best != i {
				fmt.Fprint(out, " - |")
				continue
			}
			key, err := rsalanes.NewKey(rsalanes.NumbersOf(private), i)
			if err != nil {
				return err
			}
			if err := cell(out, 1, func() error { _, err := key.Sign(info); return err }); err != nil {
				return err
			}
			batch := slices.Repeat([][]byte{info}, key.Batch())
			if len(batch) == 1 {
				continue
			}
			if err := cell(out, len(batch), func() error { _, err := key.SignBatch(batch); return err }); err != nil {
				return err
			}
		}
		fmt.Fprintln(out)
	}
	return nil
}

// cell measures work that makes so many signatures.
func cell(out io.Writer, signatures int, work func() error) error {
	often, err := rate(work)
	fmt.Fprintf(out, " %.0f |", often*float64(signatures))
	return err
}

// rate is how often work is done in a second, in the best of some tenths of one.
func rate(work func() error) (best float64, err error) {
	const tenths = 10
	for range tenths {
		start, count := time.Now(), 0
		for time.Since(start) < time.Second/10 {
			if err := work(); err != nil {
				return 0, err
			}
			count++
		}
		best = max(best, float64(count)/time.Since(start).Seconds())
	}
	return best, nil
}
