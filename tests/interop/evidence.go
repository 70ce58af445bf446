package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
)

// Section 10: an evidence file.

type evidenceSummary struct {
	Rows       uint64         `json:"rows"`
	Orders     []orderSummary `json:"orders"`
	NotGenuine []string       `json:"orders_not_genuine"`
	Unread     []string       `json:"formats_not_read"`
	NotProved  int            `json:"not_proved"`
	Unsigned   bool           `json:"end_unsigned"`
}

type exportedLog struct {
	Log        whole  `json:"log"`
	Partition  whole  `json:"partition"`
	Origin     string `json:"origin"`
	Checkpoint string `json:"checkpoint"`
}

type evidenceRow struct {
	Event    json.RawMessage `json:"event"`
	Position string          `json:"position"`
	Index    whole           `json:"index"`
	Opening  string          `json:"opening"`
	Proof    []string        `json:"proof"`
}

type evidence struct {
	keys    keyring
	origins []string
	trees   map[string]torchwood.Checkpoint
	summary evidenceSummary
}

func checkEvidence(raw []byte, keys keyring) (evidenceSummary, error) {
	e := &evidence{keys: keys, trees: map[string]torchwood.Checkpoint{}}
	lines := bytes.SplitAfter(raw, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) != 0 || last < 2 {
		return e.summary, tampered("the file is cut off")
	}
	lines = lines[:len(lines)-1]
	end := lines[len(lines)-1]
	if err := e.readManifest(lines[0]); err != nil {
		return e.summary, err
	}
	for number, line := range lines[1 : len(lines)-1] {
		if err := e.checkRow(line); err != nil {
			return e.summary, fmt.Errorf("row %d: %w", number+1, err)
		}
		e.summary.Rows++
	}
	if err := e.checkEnd(end, sha256.Sum256(raw[:len(raw)-len(end)])); err != nil {
		return e.summary, err
	}
	switch {
	case e.summary.NotProved > 0:
		return e.summary, unverified("%d rows are too new, or no key of their log is known", e.summary.NotProved)
	case e.summary.Unsigned:
		return e.summary, unverified("the end is not signed: a row could be missing")
	case len(e.summary.Unread) > 0:
		return e.summary, unverified("no events of the formats %s are read here", strings.Join(e.summary.Unread, ", "))
	}
	return e.summary, nil
}

func (e *evidence) readManifest(line []byte) error {
	var manifest struct {
		Version whole             `json:"trailseal-evidence"`
		Logs    []json.RawMessage `json:"logs"`
	}
	if err := decode(line, &manifest, "trailseal-evidence", "logs?"); err != nil {
		return tampered("manifest: %w", err)
	}
	if manifest.Version != 1 {
		return unverified("evidence of version %d", manifest.Version)
	}
	if manifest.Logs == nil {
		return tampered("manifest: no logs")
	}
	named := map[string]bool{}
	for _, raw := range manifest.Logs {
		var log exportedLog
		if err := decode(raw, &log, "log", "partition", "origin", "checkpoint"); err != nil {
			return tampered("manifest: %w", err)
		}
		name := fmt.Sprintf("%d/%d", log.Log, log.Partition)
		if named[name] || slices.Contains(e.origins, log.Origin) {
			return tampered("manifest: a log is named twice")
		}
		if first, _, _ := strings.Cut(log.Checkpoint, "\n"); first != log.Origin {
			return tampered("manifest: the checkpoint for %s is of %s", log.Origin, first)
		}
		named[name] = true
		e.origins = append(e.origins, log.Origin)
		checkpoint, _, err := openCheckpoint([]byte(log.Checkpoint), e.keys)
		if errors.Is(err, errUnverified) {
			continue // of an ended log, say: its rows stay without proof, if there are any
		}
		if err != nil {
			return fmt.Errorf("manifest: %s: %w", log.Origin, err)
		}
		e.trees[name] = checkpoint
	}
	return nil
}

func (e *evidence) checkRow(line []byte) error {
	var row evidenceRow
	if err := decode(line, &row, "event", "position", "index", "opening", "proof?"); err != nil {
		return tampered("%w", err)
	}
	opening, err := decodeBase64(row.Opening)
	if err != nil {
		return tampered("%w", err)
	}
	entry, record, err := parseOpening(opening)
	if err != nil {
		return tampered("%w", err)
	}
	if record == nil {
		return tampered("no record is shown")
	}
	log, err := logOf(row.Position, entry.offset)
	if err != nil {
		return tampered("%w", err)
	}
	tree, known := e.trees[log]
	if err := e.checkEvent(row, *record); err != nil {
		return err
	}
	hashes, err := decodeHashes(row.Proof)
	if err != nil {
		return tampered("%w", err)
	}
	if row.Proof == nil || !known {
		e.summary.NotProved++
		return nil
	}
	if err := included(uint64(row.Index), uint64(tree.N), opening, hashes, tree.Hash[:]); err != nil {
		return err
	}
	// Leaf i is offset base + i - 1.
	e.noteOrder(*record, tree, entry.offset, entry.offset+1-uint64(row.Index))
	return nil
}

func (e *evidence) checkEvent(row evidenceRow, record frame) error {
	err := sameEvent(row.Event, record, row.Position)
	var unread formatNotRead
	if errors.As(err, &unread) {
		e.summary.Unread = append(e.summary.Unread, string(unread))
		return nil
	}
	if err != nil {
		return tampered("the event is not what the record says: %w", err)
	}
	return nil
}

// noteOrder lists what is an order; a record that only looks like one is a record like any other.
func (e *evidence) noteOrder(record frame, tree torchwood.Checkpoint, offset, base uint64) {
	switch order, err := genuineOrder(record, tree.Origin, offset, base, e.keys.signers); {
	case err == nil:
		e.summary.Orders = append(e.summary.Orders, *order)
	case !errors.Is(err, errNoOrder):
		e.summary.NotGenuine = append(e.summary.NotGenuine, err.Error())
	}
}

// checkEnd holds what the exporter vouches for against the file that is there.
func (e *evidence) checkEnd(line []byte, digest [sha256.Size]byte) error {
	var last struct {
		End json.RawMessage `json:"end"`
	}
	var end struct {
		Rows   whole   `json:"rows"`
		SHA256 string  `json:"sha256"`
		Note   *string `json:"note"`
	}
	if !bytes.HasPrefix(line, []byte(`{"end":`)) {
		return tampered("the file breaks off: it has no end")
	}
	if err := decode(line, &last, "end"); err != nil {
		return tampered("end: %w", err)
	}
	if err := decode(last.End, &end, "rows", "sha256", "note"); err != nil {
		return tampered("end: %w", err)
	}
	if uint64(end.Rows) != e.summary.Rows || end.SHA256 != hex.EncodeToString(digest[:]) {
		return tampered("the end is of another file")
	}
	if end.Note == nil {
		e.summary.Unsigned = true
		return nil
	}
	text, _, _ := cutLast(*end.Note, "\n\n")
	if text != fmt.Sprintf("trailseal-evidence/1\nrows %d\nsha256 %s", end.Rows, end.SHA256) {
		return tampered("what was signed is another end")
	}
	opened, err := openNote([]byte(*end.Note), e.keys.signers)
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	for _, origin := range e.origins {
		if signedBy(opened, origin) {
			return nil
		}
	}
	return unverified("no key of a log in the manifest signed the end")
}

// logOf gives the log/partition of a position, whose offset has to be the entry's.
func logOf(position string, offset uint64) (string, error) {
	parts := strings.Split(position, "/")
	if len(parts) != 3 || parts[2] != strconv.FormatUint(offset, 10) {
		return "", fmt.Errorf("position %q, and the entry's offset is %d", position, offset)
	}
	for _, part := range parts {
		if _, err := parseDecimal(part); err != nil {
			return "", err
		}
	}
	return parts[0] + "/" + parts[1], nil
}

func cutLast(text, separator string) (string, string, bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+1:], true
	}
	return text, "", false
}
