package main

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"time"

	"sign-file/internal/rsalanes"
)

// signatures is how many RSA signatures one core makes in a second.
func (b *bench) signatures(out io.Writer) error {
	fmt.Fprintf(out, "\nRSA signatures a second, one core:\n\n| key | crypto/rsa | package rsalanes, alone | in fours |\n|---|---|---|---|\n")
	for _, name := range []string{"rsa2048", "rsa4096"} {
		signer, err := b.signer(name)
		if err != nil {
			return err
		}
		private, ok := signer.(*rsa.PrivateKey)
		if !ok {
			return fmt.Errorf("%s is no RSA key", name)
		}
		info := make([]byte, 83) // a DigestInfo is that long with SHA-512
		standard, err := rate(func() error { _, err := rsa.SignPKCS1v15(nil, private, 0, info); return err })
		if err != nil {
			return err
		}
		key, err := rsalanes.NewKey(rsalanes.NumbersOf(private))
		if errors.Is(err, rsalanes.ErrUnsupported) {
			fmt.Fprintf(out, "| %s | %.0f | - | - |\n", keyName(name), standard)
			continue
		}
		if err != nil {
			return err
		}
		alone, err := rate(func() error { _, err := key.Sign(info); return err })
		if err != nil {
			return err
		}
		batch := [][]byte{info, info, info, info}
		fours, err := rate(func() error { _, err := key.SignBatch(batch); return err })
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %s | %.0f | %.0f | %.0f |\n", keyName(name), standard, alone, fours*float64(len(batch)))
	}
	return nil
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
