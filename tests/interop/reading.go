package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Section 10: JSON with one reading, and numbers in their one spelling.

var errTwice = errors.New("a name stands twice in one object")

// oneReading refuses JSON that readers take for different values: encoding/json alone lets the last of two names win,
// and puts U+FFFD where there is no character.
func oneReading(raw []byte) error {
	if !utf8.Valid(raw) || halfSurrogate(raw) {
		return errors.New("not Unicode text")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := readValue(decoder); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func readValue(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if number, isNumber := token.(json.Number); isNumber {
		_, err = strconv.ParseFloat(number.String(), 64)
		return err
	}
	opened, isOpened := token.(json.Delim)
	if !isOpened {
		return nil
	}
	names := map[string]bool{}
	for decoder.More() {
		if opened == '{' {
			token, err := decoder.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			if names[name] {
				return errTwice
			}
			names[name] = true
		}
		if err := readValue(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

// halfSurrogate finds an escape \ud800 to \udfff that is not one of a pair.
func halfSurrogate(raw []byte) bool {
	unit := func(at int) uint64 {
		if at+6 > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return 0
		}
		value, _ := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
		return value
	}
	for at := 0; at < len(raw); at++ {
		if raw[at] != '\\' {
			continue
		}
		first, second := unit(at), unit(at+6)
		switch {
		case first>>10 == 0xd800>>10 && second>>10 == 0xdc00>>10:
			at += 11
		case first>>11 == 0xd800>>11:
			return true
		default:
			at++
		}
	}
	return false
}

// whole is a count, an index or the number of a log: no 1.0, no null.
type whole uint64

func (w *whole) UnmarshalJSON(raw []byte) error {
	n, err := parseDecimal(string(raw))
	*w = whole(n)
	return err
}

// decode reads the fields of these names out of one JSON object, and passes over others; one that ends in ? may be
// left out. encoding/json alone would take a name for another one that differs in case.
func decode(raw []byte, into any, names ...string) error {
	if err := oneReading(raw); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	known := map[string]json.RawMessage{}
	for _, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		value, given := fields[name]
		if !given && !optional {
			return errors.New(name + " is missing")
		}
		if given {
			known[name] = value
		}
	}
	exact, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return json.Unmarshal(exact, into)
}

// sameNumber compares values: of an integer exactly, of any other number as a double.
func sameNumber(left, right string) bool {
	l, r := valueOf(left), valueOf(right)
	return l != nil && r != nil && l.Cmp(r) == 0
}

func valueOf(text string) *big.Rat {
	if integer, isInteger := new(big.Int).SetString(text, 10); isInteger {
		return new(big.Rat).SetInt(integer)
	}
	double, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	return new(big.Rat).SetFloat64(double)
}
