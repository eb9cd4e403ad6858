package kernel

import (
	"syscall"

	"sign-file/verdict"
)

// maxBER is the longest input of the kernel's decoder, in bytes.
const maxBER = 65535

// Identifier octets. The number of a tag has to fit in 5 bits.
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagOID             = 0x06
	tagIA5String       = 0x16
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagSet             = 0x31
	tagConstructed     = 0x20
	tagLong            = 0x1f
)

// context is a context-specific tag, primitive; contextual one of a constructed type.
func context(number byte) byte    { return 0x80 | number }
func contextual(number byte) byte { return 0xa0 | number }

// element is what an action looks at.
type element struct {
	tag     byte
	header  int    // length of tag and length octets, as the kernel counts it
	start   int    // where the content begins
	content []byte // without the end-of-contents octets of a constructed type
}

// action is called for an element that has been read. Its error ends the decoding.
type action func(element) error

// pattern is one line of the kernel's grammars.
type pattern struct {
	tag  byte
	any  bool   // whatever its tag is
	body func() // what a constructed type consists of; nil for a leaf
	many bool   // SEQUENCE OF or SET OF: the body once or more
	act  action
}

func leaf(tag byte, act action) pattern { return pattern{tag: tag, act: act} }

func anything(act action) pattern { return pattern{any: true, act: act} }

func compound(tag byte, body func(), act action) pattern {
	return pattern{tag: tag, body: body, act: act}
}

func listOf(tag byte, item func(), act action) pattern {
	return pattern{tag: tag, body: item, many: true, act: act}
}

// decoder accepts what lib/asn1_decoder.c accepts and nothing else. That is BER
// with its own rules: lengths of at most two octets after the first, also
// indefinite and not minimal ones; where a constructed type is expected, the
// constructed bit of the tag is not looked at; what follows the outermost element
// is ignored; a mandatory CHOICE may be missing at the end of what encloses it.
type decoder struct {
	data []byte
	pos  int
	// end bounds what is read: the end of the innermost element of definite length.
	end int
	// matched is FLAG_MATCHED: what was tried last was there. It survives an
	// element that is passed over because nothing is left to read, and so decides
	// whether a missing CHOICE is an error.
	matched bool
	err     error
}

// decode runs a grammar over the data.
func decode(data []byte, grammar func(*decoder)) error {
	if len(data) > maxBER {
		return verdict.Refuse(syscall.EMSGSIZE, "asn1_ber_decoder", "%d bytes are more than the kernel's ASN.1 decoder reads (%d)", len(data), maxBER)
	}
	d := &decoder{data: data, end: len(data)}
	grammar(d)
	return d.err
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = verdict.Refuse(syscall.EBADMSG, "asn1_ber_decoder", "malformed ASN.1 at byte %d: %s", d.pos, what)
	}
}

// need reads an element that has to be there.
func (d *decoder) need(p pattern) { d.read(p, false) }

// maybe reads an element that may be missing.
func (d *decoder) maybe(p pattern) {
	if d.pos != d.end {
		d.read(p, true)
	}
}

// choose reads one of several.
func (d *decoder) choose(alternatives ...pattern) {
	d.maybeChoose(alternatives...)
	if !d.matched {
		d.fail("unexpected tag")
	}
}

// maybeChoose reads at most one of several.
func (d *decoder) maybeChoose(alternatives ...pattern) {
	for i, p := range alternatives {
		if i == 0 || !d.matched {
			d.maybe(p)
		}
	}
}

func (d *decoder) read(p pattern, skippable bool) {
	if d.err != nil {
		return
	}
	d.matched = false
	e, length, ok := d.header(p, skippable)
	if !ok {
		return
	}
	d.matched = true
	if p.body == nil {
		d.leaf(p, e, length)
		return
	}
	d.compound(p, e, length)
	if skippable {
		d.matched = true // whatever was left out inside
	}
}

// indefinite is the length of an element that ends with end-of-contents octets.
const indefinite = -1

// header reads tag and length. ok is false for an error, and where a skippable
// element isn't there.
func (d *decoder) header(p pattern, skippable bool) (e element, length int, ok bool) {
	if d.end-d.pos < 2 {
		d.fail("data overrun")
		return e, 0, false
	}
	e = element{tag: d.data[d.pos], header: 2}
	if e.tag&0x1f == tagLong {
		d.fail("long tag")
		return e, 0, false
	}
	if !p.any && !p.accepts(e.tag) {
		if !skippable {
			d.fail("unexpected tag")
		}
		return e, 0, false
	}
	d.pos++
	length, ok = d.length(&e)
	e.start = d.pos
	return e, length, ok
}

// accepts compares tags. The kernel's compiler marks constructed types in the
// grammar, and its decoder then leaves that bit of the data out.
func (p pattern) accepts(tag byte) bool {
	if p.body != nil {
		tag |= tagConstructed
	}
	return tag == p.tag
}

// length reads the length octets.
func (d *decoder) length(e *element) (int, bool) {
	first := int(d.data[d.pos])
	d.pos++
	if first == 0x80 {
		switch {
		case e.tag&tagConstructed == 0:
			d.fail("indefinite length of a primitive")
		case d.end-d.pos < 2:
			d.fail("data overrun")
		}
		return indefinite, d.err == nil
	}
	length := first
	if octets := first - 0x80; octets > 0 {
		switch {
		case octets > 2:
			d.fail("length of more than two octets")
		case octets > d.end-d.pos:
			d.fail("data overrun")
		}
		if d.err != nil {
			return 0, false
		}
		length = 0
		for range octets {
			length = length<<8 | int(d.data[d.pos])
			d.pos++
		}
		e.header += octets
	}
	if length > d.end-d.pos {
		d.fail("data overrun")
	}
	return length, d.err == nil
}

func (d *decoder) leaf(p pattern, e element, length int) {
	if length == indefinite {
		if length = d.findEnd(); d.err != nil {
			return
		}
	}
	e.content = d.data[e.start : e.start+length]
	d.act(p, e)
	d.pos = e.start + length
}

func (d *decoder) act(p pattern, e element) {
	if p.act != nil && d.err == nil {
		d.err = p.act(e)
	}
}

func (d *decoder) compound(p pattern, e element, length int) {
	outer := d.end
	if length != indefinite {
		d.end = d.pos + length
	}
	for again := true; again; {
		p.body()
		if d.err != nil {
			return
		}
		if length == indefinite {
			again = d.moreUntilEOC(p)
		} else {
			again = d.moreUntilEnd(p)
		}
	}
	stop := d.pos
	if length == indefinite {
		stop -= 2
	}
	d.end = outer
	if d.err == nil {
		e.content = d.data[e.start:stop]
		d.act(p, e)
	}
}

// moreUntilEnd says whether a list goes on, and checks that what doesn't has been
// read to its end.
func (d *decoder) moreUntilEnd(p pattern) bool {
	if d.pos == d.end {
		return false
	}
	if !p.many {
		d.fail("data left in a constructed element")
	}
	return p.many
}

// moreUntilEOC is moreUntilEnd for an indefinite length; it reads the
// end-of-contents octets.
func (d *decoder) moreUntilEOC(p pattern) bool {
	switch {
	case d.end-d.pos < 2:
		d.fail("data overrun")
	case d.data[d.pos] != 0 && p.many:
		return true
	case d.data[d.pos] != 0 || d.data[d.pos+1] != 0:
		d.fail("missing end-of-contents octets")
	}
	d.pos += 2
	return false
}

// findEnd is asn1_find_indefinite_length: how long the content of an element is
// that nothing is known of, with the end-of-contents octets.
func (d *decoder) findEnd() int {
	at, depth := d.pos, 1
	for depth > 0 {
		if d.end-at < 2 {
			d.fail("missing end-of-contents octets")
			return 0
		}
		tag := d.data[at]
		at++
		if tag == 0 {
			if d.data[at] != 0 {
				d.fail("invalid end-of-contents octets")
				return 0
			}
			at++
			depth--
			continue
		}
		if tag&0x1f == tagLong {
			if at = d.skipLongTag(at); d.err != nil {
				return 0
			}
		}
		if d.data[at] == 0x80 {
			if tag&tagConstructed == 0 {
				d.fail("indefinite length of a primitive")
				return 0
			}
			at++
			depth++
			continue
		}
		if at = d.skipValue(at); d.err != nil {
			return 0
		}
	}
	return at - d.pos
}

func (d *decoder) skipLongTag(at int) int {
	for {
		if d.end-at < 2 {
			d.fail("data overrun")
			return at
		}
		at++
		if d.data[at-1]&0x80 == 0 {
			return at
		}
	}
}

// skipValue passes over length octets of definite form and what they count. There
// may be seven of them here.
func (d *decoder) skipValue(at int) int {
	length := uint64(d.data[at])
	at++
	if length > 0x7f {
		octets := int(length - 0x80)
		switch {
		case octets > 7:
			d.fail("length of more than seven octets")
		case octets > d.end-at:
			d.fail("data overrun")
		}
		if d.err != nil {
			return at
		}
		length = 0
		for range octets {
			length = length<<8 | uint64(d.data[at])
			at++
		}
	}
	if length > uint64(d.end-at) {
		d.fail("data overrun")
		return at
	}
	return at + int(length)
}
