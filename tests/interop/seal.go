package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Sections 1 to 4 of docs/reference/seal-format.md: frame, commitment, entry.

const (
	entryMagic = "trailseal-leaf/1\x00"
	entrySize  = 66
	saltSize   = 32

	genesisEntry = 0
	recordEntry  = 1
	gapEntry     = 2
)

type entry struct {
	kind   byte
	offset uint64
	timeMS uint64
	commit [sha256.Size]byte
}

func parseEntry(raw []byte) (entry, error) {
	var e entry
	if len(raw) != entrySize || string(raw[:len(entryMagic)]) != entryMagic || raw[17] > gapEntry {
		return e, errors.New("not an entry")
	}
	e.kind = raw[17]
	e.offset = binary.BigEndian.Uint64(raw[18:])
	e.timeMS = binary.BigEndian.Uint64(raw[26:])
	copy(e.commit[:], raw[34:])
	if e.kind == gapEntry && (e.timeMS != 0 || e.commit != [sha256.Size]byte{}) {
		return e, errors.New("a gap with a time or a commit")
	}
	return e, nil
}

type header struct {
	name  string
	value []byte // nil is null
}

type frame struct {
	timeMS  int64
	key     []byte // nil is null
	value   []byte // nil is null
	headers []header
}

// values gives what all headers of that name hold, in their order.
func (f frame) values(name string) (found [][]byte) {
	for _, one := range f.headers {
		if one.name == name {
			found = append(found, one.value)
		}
	}
	return found
}

// header gives the first value of that name that is not null.
func (f frame) header(name string) ([]byte, bool) {
	for _, value := range f.values(name) {
		if value != nil {
			return value, true
		}
	}
	return nil, false
}

type cursor struct {
	rest   []byte
	broken bool
}

func (c *cursor) take(n uint64) []byte {
	if c.broken || n > uint64(len(c.rest)) {
		c.broken = true
		return nil
	}
	taken := c.rest[:n:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) u32() uint32 {
	if raw := c.take(4); raw != nil {
		return binary.BigEndian.Uint32(raw)
	}
	return 0
}

// text takes a length and that many bytes; nil is the null of length ffffffff.
func (c *cursor) text() []byte {
	length := c.u32()
	if length == 0xffffffff {
		return nil
	}
	return c.take(uint64(length))
}

func parseFrame(raw []byte) (frame, error) {
	var f frame
	c := &cursor{rest: raw}
	if version := c.take(1); version == nil || version[0] != 1 {
		return f, errors.New("not a frame of version 1")
	}
	if time := c.take(8); time != nil {
		f.timeMS = int64(binary.BigEndian.Uint64(time))
	}
	f.key, f.value = c.text(), c.text()
	for n := c.u32(); n > 0 && !c.broken; n-- {
		name := c.text()
		if name == nil {
			return f, errors.New("a header without a name")
		}
		f.headers = append(f.headers, header{string(name), c.text()})
	}
	if c.broken || len(c.rest) != 0 {
		return f, errors.New("a frame that is cut off, or goes on")
	}
	return f, nil
}

// parseOpening reads entry, salt and frame, and checks that the entry commits to the frame.
// The frame is nil where the entry stands alone.
func parseOpening(raw []byte) (entry, *frame, error) {
	if len(raw) < entrySize {
		return entry{}, nil, errors.New("no entry")
	}
	e, err := parseEntry(raw[:entrySize])
	if err != nil || len(raw) == entrySize {
		return e, nil, err
	}
	if len(raw) < entrySize+saltSize {
		return e, nil, errors.New("a salt that is cut off")
	}
	salt, framed := raw[entrySize:entrySize+saltSize], raw[entrySize+saltSize:]
	f, err := parseFrame(framed)
	if err != nil {
		return e, nil, err
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(framed)
	switch {
	case e.kind != recordEntry:
		return e, nil, errors.New("a record is shown for an entry that is none")
	case !hmac.Equal(mac.Sum(nil), e.commit[:]):
		return e, nil, errors.New("the entry does not commit to this record")
	case e.timeMS != uint64(max(0, f.timeMS)):
		return e, nil, errors.New("entry and record have different times")
	}
	return e, &f, nil
}

// decodeBase64 accepts the one spelling that encoding gives.
func decodeBase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(raw) != text {
		err = fmt.Errorf("another spelling of base64: %q", text)
	}
	return raw, err
}

func decodeHash(text string) ([]byte, error) {
	raw, err := decodeBase64(text)
	if err == nil && len(raw) != sha256.Size {
		err = fmt.Errorf("%d bytes are no hash", len(raw))
	}
	return raw, err
}

// parseDecimal accepts a number below 2^63 without superfluous zeroes.
func parseDecimal(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err == nil && strconv.FormatUint(n, 10) != text {
		err = fmt.Errorf("another spelling of a number: %q", text)
	}
	return n, err
}
