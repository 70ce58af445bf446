package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Section 11: an admin statement, the order by which records are removed lawfully.

type orderSummary struct {
	Kind    string   `json:"kind"`
	Offsets []string `json:"offsets"`
}

var errNoOrder = errors.New("no order")

// genuineOrder gives the order that a record is; errNoOrder where it does not claim to be one.
func genuineOrder(record frame, origin string, offset, base uint64, keys note.Verifiers) (*orderSummary, error) {
	notes := record.values("trailseal-admin")
	if len(notes) == 0 {
		return nil, errNoOrder
	}
	if len(notes) > 1 || notes[0] == nil {
		return nil, errors.New("its header is null or stands there twice")
	}
	opened, err := openNote(notes[0], keys)
	if err != nil {
		return nil, err
	}
	if !signedBy(opened, origin) {
		return nil, fmt.Errorf("no key of %s signed it", origin)
	}
	order, err := parseStatement(opened.Text, origin, sha256.Sum256(record.value), offset, base)
	if err != nil {
		return nil, err
	}
	return order, checkTombstones(record)
}

// checkTombstones holds the header that says which events are erased against its hash in the event.
func checkTombstones(record frame) error {
	var event struct {
		Metadata map[string]any `json:"metadata"`
	}
	if err := json.Unmarshal(record.value, &event); err != nil {
		return err
	}
	headers, named := record.values("trailseal-tombstones"), event.Metadata["tombstones"]
	if len(headers) == 0 && named == nil {
		return nil
	}
	if len(headers) != 1 || headers[0] == nil || len(headers[0])%8 != 0 {
		return errors.New("its header of tombstones is missing, cut off, or there twice")
	}
	header := headers[0]
	if digest := sha256.Sum256(header); named != hex.EncodeToString(digest[:]) {
		return errors.New("its header of tombstones is another one")
	}
	for at := 8; at < len(header); at += 8 {
		if bytes.Compare(header[at-8:at], header[at:at+8]) >= 0 {
			return errors.New("its tombstones are not ascending")
		}
	}
	return nil
}

func parseStatement(text, origin string, value [sha256.Size]byte, offset, base uint64) (*orderSummary, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.HasSuffix(text, "\n") || len(lines) < 6 || lines[0] != "trailseal-admin/1" {
		return nil, errors.New("no statement")
	}
	if lines[1] != "origin "+origin {
		return nil, errors.New("of another log")
	}
	kind, isKind := strings.CutPrefix(lines[2], "kind ")
	if !isKind || kind != "erase" && kind != "expire" {
		return nil, errors.New("of an unknown kind")
	}
	size, err := number(lines[3], "size ")
	if err != nil {
		return nil, err
	}
	if size > offset-base+1 {
		return nil, errors.New("signed for a tree that came after it")
	}
	if lines[len(lines)-1] != "value "+hex.EncodeToString(value[:]) {
		return nil, errors.New("of another value")
	}
	runs := lines[4 : len(lines)-1]
	if len(runs) > 10_000 {
		return nil, errors.New("too many runs")
	}
	order := &orderSummary{Kind: kind}
	next := base
	for place, run := range runs {
		first, last, err := parseRun(run)
		if err != nil {
			return nil, err
		}
		touches := place > 0 && first == next
		if first < next || touches || last < first || last-base+2 > size {
			return nil, fmt.Errorf("the run %q is out of place", run)
		}
		order.Offsets = append(order.Offsets, fmt.Sprintf("%d-%d", first, last))
		next = last + 1
	}
	return order, nil
}

func parseRun(line string) (first, last uint64, err error) {
	run, found := strings.CutPrefix(line, "offsets ")
	from, to, pair := strings.Cut(run, "-")
	if !found || !pair {
		return 0, 0, fmt.Errorf("no run: %q", line)
	}
	if first, err = parseDecimal(from); err == nil {
		last, err = parseDecimal(to)
	}
	return first, last, err
}

func number(line, name string) (uint64, error) {
	text, found := strings.CutPrefix(line, name)
	if !found {
		return 0, fmt.Errorf("no %q", name)
	}
	return parseDecimal(text)
}
