// Package ber reads ASN.1 as the kernel's lib/asn1_decoder.c does, and takes nothing
// else. That is BER with its own rules: see Decoder.
package ber

import (
	"fmt"
	"syscall"
)

// Error is what the kernel's decoder finds wrong.
type Error struct {
	Errno  syscall.Errno // EBADMSG, or EMSGSIZE for an input that is too long
	Reason string        // lower case, no period
}

func (e *Error) Error() string { return e.Reason }

// maxBER is the longest input of the kernel's decoder, in bytes.
const maxBER = 65535

// Identifier octets. The number of a tag has to fit in 5 bits.
const (
	TagBoolean         = 0x01
	TagInteger         = 0x02
	TagBitString       = 0x03
	TagOctetString     = 0x04
	TagOID             = 0x06
	TagIA5String       = 0x16
	TagUTCTime         = 0x17
	TagGeneralizedTime = 0x18
	TagSequence        = 0x30
	TagSet             = 0x31
	TagConstructed     = 0x20
	tagLong            = 0x1f
)

// Context is a context-specific tag of a primitive type.
func Context(number byte) byte { return 0x80 | number }

// Contextual is a context-specific tag of a constructed type.
func Contextual(number byte) byte { return 0xa0 | number }

// Element is what an action looks at.
type Element struct {
	Tag     byte
	Header  int    // length of tag and length octets, as the kernel counts it
	Start   int    // where the content begins
	Content []byte // without the end-of-contents octets of a constructed type
}

// Action is called for an element that has been read. Its error ends the decoding.
type Action func(Element) error

// Pattern is one line of the kernel's grammars.
type Pattern struct {
	tag  byte
	any  bool   // whatever its tag is
	body func() // what a constructed type consists of; nil for a leaf
	many bool   // SEQUENCE OF or SET OF: the body once or more
	act  Action
}

// Leaf is a primitive type.
func Leaf(tag byte, act Action) Pattern { return Pattern{tag: tag, act: act} }

// Anything is an element of any type.
func Anything(act Action) Pattern { return Pattern{any: true, act: act} }

// Compound is a constructed type.
func Compound(tag byte, body func(), act Action) Pattern {
	return Pattern{tag: tag, body: body, act: act}
}

// ListOf is SEQUENCE OF or SET OF.
func ListOf(tag byte, item func(), act Action) Pattern {
	return Pattern{tag: tag, body: item, many: true, act: act}
}

// Decoder accepts what lib/asn1_decoder.c accepts and nothing else. That is BER
// with its own rules: lengths of at most two octets after the first, also
// indefinite and not minimal ones; where a constructed type is expected, the
// constructed bit of the tag is not looked at; what follows the outermost element
// is ignored; a mandatory CHOICE may be missing at the end of what encloses it.
type Decoder struct {
	Data []byte // what is read
	pos  int
	// end bounds what is read: the end of the innermost element of definite length.
	end int
	// matched is FLAG_MATCHED: what was tried last was there. It survives an
	// element that is passed over because nothing is left to read, and so decides
	// whether a missing CHOICE is an error.
	matched bool
	err     error
}

// Decode runs a grammar over the data.
func Decode(data []byte, grammar func(*Decoder)) error {
	if len(data) > maxBER {
		return failure(syscall.EMSGSIZE, "%d bytes are more than the kernel's ASN.1 decoder reads (%d)", len(data), maxBER)
	}
	d := &Decoder{Data: data, end: len(data)}
	grammar(d)
	return d.err
}

// Do runs a step of an action outside one, unless the decoding has failed already.
func (d *Decoder) Do(step func() error) {
	if d.err == nil {
		d.err = step()
	}
}

// Pos is where the next element begins, in bytes from the start of Data.
func (d *Decoder) Pos() int { return d.pos }

func failure(errno syscall.Errno, format string, args ...any) error {
	return &Error{errno, fmt.Sprintf(format, args...)}
}

func (d *Decoder) fail(what string) {
	if d.err == nil {
		d.err = failure(syscall.EBADMSG, "malformed ASN.1 at byte %d: %s", d.pos, what)
	}
}

// Need reads an element that has to be there.
func (d *Decoder) Need(p Pattern) { d.read(p, false) }

// Maybe reads an element that may be missing.
func (d *Decoder) Maybe(p Pattern) {
	if d.pos != d.end {
		d.read(p, true)
	}
}

// Choose reads one of several.
func (d *Decoder) Choose(alternatives ...Pattern) {
	d.MaybeChoose(alternatives...)
	if !d.matched {
		d.fail("unexpected tag")
	}
}

// MaybeChoose reads at most one of several.
func (d *Decoder) MaybeChoose(alternatives ...Pattern) {
	for i, p := range alternatives {
		if i == 0 || !d.matched {
			d.Maybe(p)
		}
	}
}

func (d *Decoder) read(p Pattern, skippable bool) {
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
func (d *Decoder) header(p Pattern, skippable bool) (e Element, length int, ok bool) {
	if d.end-d.pos < 2 {
		d.fail("data overrun")
		return e, 0, false
	}
	e = Element{Tag: d.Data[d.pos], Header: 2}
	if e.Tag&0x1f == tagLong {
		d.fail("long tag")
		return e, 0, false
	}
	if !p.any && !p.accepts(e.Tag) {
		if !skippable {
			d.fail("unexpected tag")
		}
		return e, 0, false
	}
	d.pos++
	length, ok = d.length(&e)
	e.Start = d.pos
	return e, length, ok
}

// accepts compares tags. The kernel's compiler marks constructed types in the
// grammar, and its decoder then leaves that bit of the data out.
func (p Pattern) accepts(tag byte) bool {
	if p.body != nil {
		tag |= TagConstructed
	}
	return tag == p.tag
}

// length reads the length octets.
func (d *Decoder) length(e *Element) (int, bool) {
	first := int(d.Data[d.pos])
	d.pos++
	if first == 0x80 {
		switch {
		case e.Tag&TagConstructed == 0:
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
			length = length<<8 | int(d.Data[d.pos])
			d.pos++
		}
		e.Header += octets
	}
	if length > d.end-d.pos {
		d.fail("data overrun")
	}
	return length, d.err == nil
}

func (d *Decoder) leaf(p Pattern, e Element, length int) {
	if length == indefinite {
		if length = d.findEnd(); d.err != nil {
			return
		}
	}
	e.Content = d.Data[e.Start : e.Start+length]
	d.act(p, e)
	d.pos = e.Start + length
}

func (d *Decoder) act(p Pattern, e Element) {
	if p.act != nil && d.err == nil {
		d.err = p.act(e)
	}
}

func (d *Decoder) compound(p Pattern, e Element, length int) {
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
		e.Content = d.Data[e.Start:stop]
		d.act(p, e)
	}
}

// moreUntilEnd says whether a list goes on, and checks that what doesn't has been
// read to its end.
func (d *Decoder) moreUntilEnd(p Pattern) bool {
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
func (d *Decoder) moreUntilEOC(p Pattern) bool {
	switch {
	case d.end-d.pos < 2:
		d.fail("data overrun")
	case d.Data[d.pos] != 0 && p.many:
		return true
	case d.Data[d.pos] != 0 || d.Data[d.pos+1] != 0:
		d.fail("missing end-of-contents octets")
	}
	d.pos += 2
	return false
}

// findEnd is asn1_find_indefinite_length: how long the content of an element is
// that nothing is known of, with the end-of-contents octets.
func (d *Decoder) findEnd() int {
	at, depth := d.pos, 1
	for depth > 0 {
		if d.end-at < 2 {
			d.fail("missing end-of-contents octets")
			return 0
		}
		tag := d.Data[at]
		at++
		if tag == 0 {
			if d.Data[at] != 0 {
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
		if d.Data[at] == 0x80 {
			if tag&TagConstructed == 0 {
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

func (d *Decoder) skipLongTag(at int) int {
	for {
		if d.end-at < 2 {
			d.fail("data overrun")
			return at
		}
		at++
		if d.Data[at-1]&0x80 == 0 {
			return at
		}
	}
}

// skipValue passes over length octets of definite form and what they count. There
// may be seven of them here.
func (d *Decoder) skipValue(at int) int {
	length := uint64(d.Data[at])
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
			length = length<<8 | uint64(d.Data[at])
			at++
		}
	}
	if length > uint64(d.end-at) {
		d.fail("data overrun")
		return at
	}
	return at + int(length)
}
