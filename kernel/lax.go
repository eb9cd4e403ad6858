package kernel

import (
	"bytes"
	"encoding/asn1"

	"sign-file/cms"
)

// laxness says what no signer writes in a message that the kernel accepts: what
// strict DER forbids, and what the kernel doesn't look at. Such bytes can be
// changed by anyone, so a signed file is not to be known by them.
func laxness(der []byte) string {
	message, err := cms.Parse(der)
	if err != nil {
		return reason(err)
	}
	for _, s := range message.Signers {
		oid, err := asn1.Marshal(s.Digest.OID)
		switch {
		case err != nil || !bytes.Contains(message.DigestAlgorithms, oid):
			return "digestAlgorithms lacks the signer's"
		case !s.Digest.HasAbsentOrNullParameters() || !s.Algorithm.HasAbsentOrNullParameters():
			return "an algorithm has parameters that mean nothing"
		}
	}
	return ""
}
