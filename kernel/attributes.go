package kernel

import (
	"syscall"
	"time"

	"sign-file/kernel/internal/ber"
)

// attribute is one signed attribute.
func (p *messageParser) attribute() {
	p.Need(ber.Compound(ber.TagSequence, func() {
		p.Need(p.oid(nil))
		p.Need(ber.ListOf(ber.TagSet, func() { p.Need(ber.Anything(p.noteAttribute)) }, nil))
	}, nil))
}

// noteAttribute is pkcs7_sig_note_authenticated_attr, called for each value of an
// attribute. Those that it doesn't know may come as often as they like.
func (p *messageParser) noteAttribute(e ber.Element) error {
	const where = "pkcs7_sig_note_authenticated_attr"
	switch p.lastOID {
	case oidContentType, oidSigningTime, oidMessageDigest, oidSMIMECapabilities, oidOpusInfo, oidStatementType:
	default:
		return nil
	}
	if p.signer.seen[p.lastOID] {
		return logged(syscall.EKEYREJECTED, where, "PKCS7: Repeated/multivalue AuthAttrs not permitted", "a signed attribute comes twice")
	}
	p.signer.seen[p.lastOID] = true
	authenticode := p.message.contentType == oidIndirectData
	switch p.lastOID {
	case oidContentType:
		if string(e.Content) != p.message.contentType {
			return logged(syscall.EBADMSG, where, "PKCS7: Mismatch between global data type", "the content type in the signed attributes is not that of the message")
		}
	case oidSigningTime:
		t, err := decodeTime(e)
		p.signer.signingTime = &t
		return err
	case oidMessageDigest:
		if e.Tag != ber.TagOctetString {
			return refuse(syscall.EBADMSG, where, "the message digest in the signed attributes is no OCTET STRING")
		}
		p.signer.messageDigest = e.Content
	case oidSMIMECapabilities:
		if !authenticode {
			return logged(syscall.EKEYREJECTED, where, "PKCS7: S/MIME Caps only allowed with Authenticode", "signed attributes have S/MIME capabilities (sign with openssl cms -nosmimecap)")
		}
	case oidOpusInfo, oidStatementType:
		if !authenticode {
			return logged(syscall.EKEYREJECTED, where, "PKCS7: Authenticode AuthAttrs only allowed with Authenticode", "signed attributes of Authenticode in a message that isn't")
		}
	}
	return nil
}

// noteAttributes is pkcs7_sig_note_set_of_authattrs.
func (p *messageParser) noteAttributes(e ber.Element) error {
	if !p.signer.seen[oidContentType] || !p.signer.seen[oidMessageDigest] {
		return logged(syscall.EBADMSG, "pkcs7_sig_note_set_of_authattrs", "PKCS7: Missing required AuthAttr", "signed attributes lack contentType or messageDigest")
	}
	p.signer.attributes = p.Data[e.Start-e.Header+1 : e.Start+len(e.Content)]
	return nil
}

// decodeTime is x509_decode_time: seconds since 1970.
func decodeTime(e ber.Element) (int64, error) {
	malformed := refuse(syscall.EBADMSG, "x509_decode_time", "a time that the kernel does not read")
	digits := e.Content
	var year int
	switch {
	case e.Tag == ber.TagUTCTime && len(digits) == 13:
		year = twoDigits(digits)
		if year >= 50 {
			year += 1900
		} else {
			year += 2000
		}
		digits = digits[2:]
	case e.Tag == ber.TagGeneralizedTime && len(digits) == 15:
		year = twoDigits(digits)*100 + twoDigits(digits[2:])
		if year >= 1950 && year <= 2049 {
			return 0, malformed // UTCTime is for those
		}
		digits = digits[4:]
	default:
		return 0, malformed
	}
	for i, c := range e.Content {
		if last := i == len(e.Content)-1; last && c != 'Z' || !last && (c < '0' || c > '9') {
			return 0, malformed
		}
	}
	t, ok := dateOf(year, digits)
	if !ok {
		return 0, malformed
	}
	return t, nil
}

func twoDigits(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }

// dateOf reads MMDDHHMMSS. 24 hours and leap seconds are times of the next day
// and minute, as in mktime64.
func dateOf(year int, digits []byte) (int64, bool) {
	month, day, hour, minute, second := twoDigits(digits), twoDigits(digits[2:]), twoDigits(digits[4:]), twoDigits(digits[6:]), twoDigits(digits[8:])
	if year < 1970 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 24 || minute > 59 || second > 60 {
		return 0, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix(), true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
